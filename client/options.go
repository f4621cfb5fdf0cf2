package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/url"
	"time"

	"postbox"
)

// Options says where to connect and as whom. URL, User, Password and Device
// are required, Credentials may stand for Password.
type Options struct {
	// URL is the server: tcp://host:1883, tls://host:8883, ws://host:8080/mqtt
	// or wss://host/mqtt. Without a port the usual one is meant, without a path
	// /mqtt.
	URL string
	// User is the user's name.
	User postbox.User
	// Password is the account's password, or an access token.
	Password string
	// Credentials, if set, is asked for the password or an access token before
	// each connection, instead of Password: for tokens, which end. refused is the
	// one that the server has just refused, else empty: then there must be
	// another one. An error that is ErrUnauthenticated ends the client, after any
	// other it is asked again at the next attempt. It is called by one goroutine
	// at a time. Login has such a function.
	Credentials func(ctx context.Context, refused string) (string, error)
	// Device is the MQTT client id, 1 to 128 bytes. The server keeps a cursor
	// under this name: the same name continues where it stopped, and two
	// clients with one name drive each other out.
	Device string

	// Cursor keeps the program's place in the inbox, so that it goes on there
	// under any device name, also when the server has forgotten the device. What
	// the program has acknowledged is saved soon after, many at once; what was not
	// saved when the program was killed comes again. An error of it ends the
	// client. Without it, the server keeps the place for as long as a session
	// lives (30 days, unless set otherwise).
	Cursor CursorStore
	// FromStart begins with the oldest entry of the inbox where neither Cursor nor
	// a session of the device says where to go on; else that is its end.
	FromStart bool

	// Signals subscribes to what ReceiveSignal returns.
	Signals bool

	// SendOnly acknowledges and drops all that arrives, for programs that never
	// call Receive.
	SendOnly bool
	// Buffer is how many deliveries are kept for Receive; beyond it nothing
	// more is read from the connection, answers neither. It should not be smaller
	// than the server's window. Default 256.
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
	if o.SendOnly && (o.Cursor != nil || o.FromStart) {
		return o, nil, postbox.Errorf(postbox.CodeInvalid, "a client that only sends has no place in the inbox: leave out Cursor and FromStart, or SendOnly")
	}
	if o.Password == "" && o.Credentials == nil {
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
