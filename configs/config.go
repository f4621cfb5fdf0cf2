// Package configs holds the settings of a Postbox server: their names, their
// defaults, the limits of sensible values, and the strict loader that reads
// them from a file, the environment and the command line.
//
// postbox.yaml beside this file is the manual: every key with its default and
// the reason for it. A test loads it and compares it with [Default].
//
// Loading is strict: an unknown key, a wrong type or a value out of range is
// an error that says where it stands, because a setting that is silently
// ignored is worse than a server that does not start. The package knows
// nothing of what the settings do.
package configs

import (
	"log/slog"
	"time"
)

// Config is a complete set of settings. The zero value is not usable: start
// from [Default] or [Load]. A Config is plain data; copy it freely, but do not
// change one that several goroutines read.
type Config struct {
	Listen   Listen
	TLS      TLS
	ACME     ACME
	Proxy    Proxy
	Database Database
	// OutageTimeout is how long PostgreSQL may be away before connections are closed.
	OutageTimeout time.Duration
	Registration  Registration
	// Page serves the chat page at "/" of the HTTP addresses.
	Page   bool
	Limits Limits
	Tokens Tokens
	Issuer Issuer
	Log    Log
	Trace  Trace
}

// Listen says where the server can be reached. Addresses are "host:port"; an
// empty host means every interface, port 0 any free port.
type Listen struct {
	MQTT    string
	HTTP    string
	Private string
	// MQTTS and HTTPS are the same with TLS; empty means off.
	MQTTS string
	HTTPS string
	// Origins are the web origins, besides the server's own, whose pages may
	// open a WebSocket and use the operations: "https://chat.example.org".
	Origins []string
}

// Database says where messages are kept.
type Database struct {
	// URL is a PostgreSQL connection string, "postgres://…" or "key=value …".
	// Empty means the embedded PostgreSQL. It may hold a password: never log it,
	// [Config.Print] shows it without.
	URL string
	// EmbeddedDir is the data directory of the embedded PostgreSQL.
	EmbeddedDir string
	// BinDir is where initdb and postgres are; empty means: look for them.
	BinDir string
	// FetchURL is where missing programs of the embedded PostgreSQL are fetched
	// from; empty means: nowhere.
	FetchURL string
	// PoolSize is the number of connections to PostgreSQL, at most; for reading
	// history there are as many again.
	PoolSize int
	// Lanes is the number of writers, each with one transaction at a time.
	Lanes int
}

// Registration says who may make an account over HTTP.
type Registration string

// The kinds of registration.
const (
	RegistrationClosed Registration = "closed" // nobody: accounts are made by an administrator
	RegistrationInvite Registration = "invite" // who holds an invitation
	RegistrationOpen   Registration = "open"   // everybody
)

// Limits bound what one client may ask of the server.
type Limits struct {
	BodySize    Size // of a message
	PacketSize  Size // of an MQTT packet after CONNECT
	ConnectSize Size // of the CONNECT packet
	RefSize     Size // of a message's ref

	// ConnectTimeout is the time from accepting a connection to its CONNECT.
	ConnectTimeout time.Duration
	// ConnectionsPerAddress counts connections that have not sent CONNECT, and,
	// apart from these, CONNECTs that are being checked.
	ConnectionsPerAddress int
	// ConnectRate is how many connections one address may open in a second, in
	// bursts of ten times as many; 0 switches it off.
	ConnectRate int
	// ConnectionsPerUser counts connections that were let in.
	ConnectionsPerUser int
	// KeepAlive is the longest keep-alive, and the one of a client that asks for none.
	KeepAlive time.Duration

	MembersPerRoom int
	// Inflight is the number of unacknowledged publishes of a connection.
	Inflight int
	// Window is the number of unacknowledged deliveries to an MQTT 3.1.1 device.
	Window int
	// SessionExpiry is the life of a 3.1.1 session without a connection, and
	// the longest that MQTT 5 may ask for.
	SessionExpiry          time.Duration
	DevicesPerUser         int
	SubscriptionsPerDevice int
	// StreamsPerUser counts event streams and requests that wait, over HTTP.
	StreamsPerUser int

	// The rates are per user and second; 0 switches one off.
	PublishRate  int
	PublishBurst int // publishes at once before PublishRate counts
	// PacketRate and PacketBurst are for packets that are no publishes; a
	// connection that exceeds them is ended.
	PacketRate  int
	PacketBurst int
	RequestRate int
	SignalRate  int
}

// Tokens says how long own tokens are valid.
type Tokens struct {
	Access  time.Duration
	Refresh time.Duration
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
}

// Trace says where the traces of messages go, over OTLP by HTTP.
type Trace struct {
	// Endpoint is the collector's URL, "http://127.0.0.1:4318/v1/traces". Empty:
	// nothing is traced.
	Endpoint string
	// Ratio is the part of the messages that is traced, from 0 to 1. A sender that
	// says of its own trace whether it is sampled decides for itself.
	Ratio float64
	// Header is sent with every request, "Name: value". It may hold a secret: never
	// log it, [Config.Print] shows it without.
	Header string
	// CA is a PEM file with the certificates that the collector's is checked
	// against; empty: those of the system.
	CA string
}

// LogFormat is the form of the log.
type LogFormat string

// The forms of the log.
const (
	LogAuto LogFormat = "auto" // text on a terminal, else JSON
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Default returns the settings of a server that is given none. The same
// values, with their reasons, are in [Reference].
func Default() Config {
	return Config{
		Listen: Listen{
			MQTT:    "127.0.0.1:1883",
			HTTP:    "127.0.0.1:8080",
			Private: "127.0.0.1:9090",
		},
		TLS:   TLS{ClientAuth: ClientAuthOff, ClientName: NameCommonName},
		ACME:  ACME{Directory: "https://acme-v02.api.letsencrypt.org/directory", CacheDir: "./postbox-acme"},
		Proxy: Proxy{MQTTHeader: MQTTHeaderProxy, HTTPHeader: HTTPHeaderXForwardedFor},
		Database: Database{
			EmbeddedDir: "./postbox-data",
			PoolSize:    10,
			Lanes:       2,
		},
		OutageTimeout: 5 * time.Minute,
		Registration:  RegistrationClosed,
		Page:          true,
		Limits: Limits{
			BodySize:               64 * KiB,
			PacketSize:             256 * KiB,
			ConnectSize:            32 * KiB,
			RefSize:                4 * KiB,
			ConnectTimeout:         10 * time.Second,
			ConnectionsPerAddress:  100,
			ConnectRate:            100,
			ConnectionsPerUser:     100,
			KeepAlive:              time.Hour,
			MembersPerRoom:         1000,
			Inflight:               256,
			Window:                 64,
			SessionExpiry:          30 * day,
			DevicesPerUser:         50,
			SubscriptionsPerDevice: 100,
			StreamsPerUser:         20,
			PublishRate:            50,
			PublishBurst:           500,
			PacketRate:             100,
			PacketBurst:            2000,
			RequestRate:            20,
			SignalRate:             20,
		},
		Tokens: Tokens{Access: 12 * time.Hour, Refresh: 30 * day},
		Issuer: Issuer{UserClaim: "sub", AddUsers: true},
		Log:    Log{Level: slog.LevelInfo, Format: LogAuto},
		Trace:  Trace{Ratio: 0.01},
	}
}
