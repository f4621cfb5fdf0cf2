package client

import (
	"crypto/tls"
	"log/slog"
	"net/url"
	"time"

	"postbox"
)

// Options says where to connect and as whom. URL, User, Password and Device
// are required.
type Options struct {
	// URL is the server: tcp://host:1883, tls://host:8883, ws://host:8080/mqtt
	// or wss://host/mqtt. Without a port the usual one is meant, without a path
	// /mqtt.
	URL string
	// User is the user's name.
	User postbox.User
	// Password is the account's password, or an access token.
	Password string
	// Device is the MQTT client id, 1 to 128 bytes. The server keeps a cursor
	// under this name: the same name continues where it stopped, and two
	// clients with one name drive each other out.
	Device string

	// SendOnly acknowledges and drops all that arrives, for programs that never
	// call Receive.
	SendOnly bool
	// Buffer is how many deliveries are kept for Receive; beyond it nothing
	// more is read from the connection. It should not be smaller than the
	// server's window. Default 256.
	Buffer int
	// InFlight is how many sends may wait for their confirmation; a further
	// Send waits for one of them. Default 256, the server's own limit.
	InFlight int
	// MaxBody is the largest body in bytes that Send takes; a larger one is
	// ErrTooLarge at once. Default 64 KiB, the server's default.
	MaxBody int

	// TLS is used for tls and wss; nil means Go's defaults.
	TLS *tls.Config
	// KeepAlive is how often an idle connection is tested, in whole seconds.
	// Default 30 s.
	KeepAlive time.Duration
	// ConnectTimeout bounds one attempt to connect and subscribe. Default 10 s.
	ConnectTimeout time.Duration
	// ReconnectMin and ReconnectMax are the first and the longest pause before
	// a new attempt; it doubles in between and is shortened by chance by up to
	// a half. Defaults 250 ms and 30 s.
	ReconnectMin, ReconnectMax time.Duration
	// Logger is told of lost connections and of deliveries that cannot be read.
	// Nil means nobody.
	Logger *slog.Logger
}

// prepared fills in the defaults and checks the rest.
func (o Options) prepared() (Options, *url.URL, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return o, nil, postbox.Errorf(postbox.CodeInvalid, "the URL cannot be read: write tcp://host:1883 or ws://host:8080/mqtt")
	}
	if u, err = addressOf(u); err != nil {
		return o, nil, err
	}
	if _, err := postbox.ParseUser(string(o.User)); err != nil {
		return o, nil, err
	}
	if err := postbox.CheckDevice(o.Device); err != nil {
		return o, nil, err
	}
	if o.Password == "" {
		return o, nil, postbox.Errorf(postbox.CodeInvalid, "the password is empty: give the account's password or an access token")
	}
	orElse(&o.Buffer, 256)
	orElse(&o.InFlight, 256)
	orElse(&o.MaxBody, 64<<10)
	orElse(&o.KeepAlive, 30*time.Second)
	orElse(&o.ConnectTimeout, 10*time.Second)
	orElse(&o.ReconnectMin, 250*time.Millisecond)
	orElse(&o.ReconnectMax, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, u, nil
}

func orElse[T int | time.Duration](v *T, usual T) {
	if *v <= 0 {
		*v = usual
	}
}
