package configs

import (
	"log/slog"
	"math"
	"strings"
	"time"
)

// setting joins a key with its field and the values that make sense for it.
type setting struct {
	key    string
	value  value
	secret func(string) string // what may be shown of it; nil: all
}

// environment is the variable that sets the key.
func (s setting) environment() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings lists every setting of c in the order of the reference file. What
// is not in this list does not exist for files, environment and flags.
func (c *Config) settings() []setting {
	const most = 1_000_000
	listen, database, limits := &c.Listen, &c.Database, &c.Limits
	tls, acme, proxy := &c.TLS, &c.ACME, &c.Proxy
	return []setting{
		{key: "listen.mqtt", value: text(&listen.MQTT, hostPort)},
		{key: "listen.http", value: text(&listen.HTTP, hostPort)},
		{key: "listen.private", value: text(&listen.Private, hostPort)},
		{key: "listen.mqtts", value: text(&listen.MQTTS, hostPortOrOff)},
		{key: "listen.https", value: text(&listen.HTTPS, hostPortOrOff)},
		{key: "listen.origins", value: list{&listen.Origins, origin}},

		{key: "tls.cert_file", value: text(&tls.CertFile, anything)},
		{key: "tls.key_file", value: text(&tls.KeyFile, anything)},
		{key: "tls.client_auth", value: choice(&tls.ClientAuth,
			[]string{"off", "optional", "required"},
			[]ClientAuth{ClientAuthOff, ClientAuthOptional, ClientAuthRequired})},
		{key: "tls.client_ca_file", value: text(&tls.ClientCAFile, anything)},
		{key: "tls.client_name", value: choice(&tls.ClientName,
			[]string{"common_name", "dns", "email", "uri"},
			[]ClientName{NameCommonName, NameDNS, NameEmail, NameURI})},
		{key: "tls.client_uri_prefix", value: text(&tls.ClientURIPrefix, uriPrefix)},

		{key: "acme.domains", value: list{&acme.Domains, domain}},
		{key: "acme.email", value: text(&acme.Email, anything)},
		{key: "acme.directory", value: text(&acme.Directory, httpsURL)},
		{key: "acme.ca_file", value: text(&acme.CAFile, anything)},
		{key: "acme.cache_dir", value: text(&acme.CacheDir, notEmpty)},

		{key: "proxy.trusted", value: list{&proxy.Trusted, network}},
		{key: "proxy.mqtt_header", value: choice(&proxy.MQTTHeader,
			[]string{"proxy", "none"}, []MQTTHeader{MQTTHeaderProxy, MQTTHeaderNone})},
		{key: "proxy.http_header", value: choice(&proxy.HTTPHeader,
			[]string{"x-forwarded-for", "forwarded", "none"},
			[]HTTPHeader{HTTPHeaderXForwardedFor, HTTPHeaderForwarded, HTTPHeaderNone})},

		{key: "database.url", value: text(&database.URL, connection), secret: redact},
		{key: "database.embedded_dir", value: text(&database.EmbeddedDir, notEmpty)},
		{key: "database.bin_dir", value: text(&database.BinDir, anything)},
		{key: "database.fetch_url", value: text(&database.FetchURL, repository), secret: redact},
		{key: "database.pool_size", value: integer(&database.PoolSize, 3, 1000)},
		{key: "database.lanes", value: integer(&database.Lanes, 1, 16)},

		{key: "outage_timeout", value: duration(&c.OutageTimeout, time.Second, day)},
		{key: "registration", value: choice(&c.Registration,
			[]string{"closed", "invite", "open"},
			[]Registration{RegistrationClosed, RegistrationInvite, RegistrationOpen})},
		{key: "page", value: choice(&c.Page, []string{"true", "false"}, []bool{true, false})},

		{key: "limits.body_size", value: size(&limits.BodySize, 1, 64*MiB)},
		// MQTT's length field ends at 268,435,455 bytes. [MQTT 5 §1.5.5]
		{key: "limits.packet_size", value: size(&limits.PacketSize, 4*KiB, 256*MiB-1)},
		{key: "limits.connect_size", value: size(&limits.ConnectSize, KiB, MiB)},
		{key: "limits.ref_size", value: size(&limits.RefSize, 64, MiB)},
		{key: "limits.connect_timeout", value: duration(&limits.ConnectTimeout, 100*time.Millisecond, 5*time.Minute)},
		{key: "limits.connections_per_address", value: integer(&limits.ConnectionsPerAddress, 1, most)},
		{key: "limits.connect_rate", value: integer(&limits.ConnectRate, 0, most)},
		{key: "limits.connections_per_user", value: integer(&limits.ConnectionsPerUser, 1, most)},
		// Mochi computes 1.5 × the keep-alive in 16 bits: above 43,690 s it wraps.
		{key: "limits.keep_alive", value: duration(&limits.KeepAlive, 5*time.Second, 12*time.Hour)},
		{key: "limits.members_per_room", value: integer(&limits.MembersPerRoom, 1, 100_000)},
		{key: "limits.inflight", value: integer(&limits.Inflight, 1, math.MaxUint16)},
		// Packet ids of deliveries repeat every 60,000 entries: half of that
		// can be under way without two of them looking alike.
		{key: "limits.window", value: integer(&limits.Window, 1, 30_000)},
		{key: "limits.session_expiry", value: duration(&limits.SessionExpiry, time.Minute, 3650*day)},
		{key: "limits.devices_per_user", value: integer(&limits.DevicesPerUser, 1, 10_000)},
		{key: "limits.subscriptions_per_device", value: integer(&limits.SubscriptionsPerDevice, 1, 10_000)},
		{key: "limits.streams_per_user", value: integer(&limits.StreamsPerUser, 1, 10_000)},
		{key: "limits.publish_rate", value: integer(&limits.PublishRate, 0, most)},
		{key: "limits.publish_burst", value: integer(&limits.PublishBurst, 1, most)},
		{key: "limits.packet_rate", value: integer(&limits.PacketRate, 0, most)},
		// A CONNECT and as many filters as a device may have by default count 410.
		{key: "limits.packet_burst", value: integer(&limits.PacketBurst, 500, most)},
		{key: "limits.request_rate", value: integer(&limits.RequestRate, 0, most)},
		{key: "limits.signal_rate", value: integer(&limits.SignalRate, 0, most)},

		{key: "tokens.access", value: duration(&c.Tokens.Access, time.Minute, 365*day)},
		{key: "tokens.refresh", value: duration(&c.Tokens.Refresh, time.Minute, 3650*day)},

		{key: "issuer.name", value: text(&c.Issuer.Name, anything)},
		{key: "issuer.audience", value: text(&c.Issuer.Audience, anything)},
		{key: "issuer.algorithms", value: list{&c.Issuer.Algorithms, algorithm}},
		{key: "issuer.keys_url", value: text(&c.Issuer.KeysURL, keysURL)},
		{key: "issuer.user_claim", value: text(&c.Issuer.UserClaim, notEmpty)},
		{key: "issuer.add_users", value: choice(&c.Issuer.AddUsers, []string{"true", "false"}, []bool{true, false})},
		{key: "issuer.ca_file", value: text(&c.Issuer.CAFile, anything)},

		{key: "log.level", value: choice(&c.Log.Level,
			[]string{"debug", "info", "warn", "error"},
			[]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError})},
		{key: "log.format", value: choice(&c.Log.Format,
			[]string{"auto", "text", "json"},
			[]LogFormat{LogAuto, LogText, LogJSON})},

		{key: "trace.endpoint", value: text(&c.Trace.Endpoint, collector)},
		{key: "trace.ratio", value: fraction(&c.Trace.Ratio)},
		{key: "trace.header", value: text(&c.Trace.Header, header), secret: redactHeader},
		{key: "trace.ca", value: text(&c.Trace.CA, anything)},
	}
}
