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
	secret bool // holds a password: shown only redacted
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
	return []setting{
		{key: "listen.mqtt", value: text(&listen.MQTT, hostPort)},
		{key: "listen.http", value: text(&listen.HTTP, hostPort)},
		{key: "listen.private", value: text(&listen.Private, hostPort)},
		{key: "listen.origins", value: list{&listen.Origins, origin}},

		{key: "database.url", value: text(&database.URL, connection), secret: true},
		{key: "database.embedded_dir", value: text(&database.EmbeddedDir, notEmpty)},
		{key: "database.bin_dir", value: text(&database.BinDir, anything)},
		{key: "database.pool_size", value: integer(&database.PoolSize, 3, 1000)},
		{key: "database.lanes", value: integer(&database.Lanes, 1, 16)},

		{key: "outage_timeout", value: duration(&c.OutageTimeout, time.Second, day)},
		{key: "registration", value: choice(&c.Registration,
			[]string{"closed", "invite", "open"},
			[]Registration{RegistrationClosed, RegistrationInvite, RegistrationOpen})},

		{key: "limits.body_size", value: size(&limits.BodySize, 1, 64*MiB)},
		// MQTT's length field ends at 268,435,455 bytes. [MQTT 5 §1.5.5]
		{key: "limits.packet_size", value: size(&limits.PacketSize, 4*KiB, 256*MiB-1)},
		{key: "limits.connect_size", value: size(&limits.ConnectSize, KiB, MiB)},
		{key: "limits.ref_size", value: size(&limits.RefSize, 64, MiB)},
		{key: "limits.connect_timeout", value: duration(&limits.ConnectTimeout, 100*time.Millisecond, 5*time.Minute)},
		{key: "limits.connections_per_address", value: integer(&limits.ConnectionsPerAddress, 1, most)},
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
		{key: "limits.request_rate", value: integer(&limits.RequestRate, 0, most)},
		{key: "limits.signal_rate", value: integer(&limits.SignalRate, 0, most)},

		{key: "tokens.access", value: duration(&c.Tokens.Access, time.Minute, 365*day)},
		{key: "tokens.refresh", value: duration(&c.Tokens.Refresh, time.Minute, 3650*day)},

		{key: "log.level", value: choice(&c.Log.Level,
			[]string{"debug", "info", "warn", "error"},
			[]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError})},
		{key: "log.format", value: choice(&c.Log.Format,
			[]string{"auto", "text", "json"},
			[]LogFormat{LogAuto, LogText, LogJSON})},
	}
}
