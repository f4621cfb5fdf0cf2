package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"postbox"
)

const (
	// quiesce is how long Paho may take to write what it has and DISCONNECT.
	quiesce = 250 * time.Millisecond
	// handOver is how long Paho may take to accept a packet before we look
	// whether the connection still lives: Paho itself does not.
	handOver = 500 * time.Millisecond
)

// link is one connection. Paho is made anew for each: its own reconnect
// completes tokens that nobody answered and sends again under old packet ids,
// where ours sends again under idempotency keys.
type link struct {
	paho mqtt.Client
	once sync.Once
	lost chan struct{} // closed when the connection is gone
	err  error         // why; valid once lost is closed
	// subscribed is closed when the inbox is known to be subscribed to.
	subscribed chan struct{}
	proof      sync.Once // guards the closing of subscribed
}

func newLink() *link {
	return &link{lost: make(chan struct{}), subscribed: make(chan struct{})}
}

func (l *link) lose(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.lost)
	})
}

// close ends the connection, with DISCONNECT if that can be written at once.
func (l *link) close() {
	l.paho.Disconnect(uint(quiesce / time.Millisecond))
	l.lose(ErrClosed)
}

// connect makes a connection that is subscribed to the inbox. arrive gets what
// arrives, one at a time, in order, also before connect returns.
func connect(ctx context.Context, o Options, u *url.URL, g *ledger, arrive func(*link, mqtt.Message)) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.ConnectTimeout, fmt.Errorf("no answer within %s", o.ConnectTimeout))
	defer cancel()
	l := newLink()
	abandon := func() bool { return true }
	l.paho = l.newPaho(o, arrive, func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := open(ctx, u, o.TLS)
		if err != nil {
			return nil, err
		}
		abandon = context.AfterFunc(ctx, func() {
			l.lose(context.Cause(ctx)) // Paho does not report a connection that we closed
			_ = conn.Close()
		})
		return patient{conn, o.ConnectTimeout}, nil
	})
	g.begin(l)
	token := l.paho.Connect().(*mqtt.ConnectToken)
	<-token.Done() // ends with ctx, which closes the connection
	defer func() { abandon() }()
	if err := token.Error(); err != nil {
		if refusal := refusalOf(token.ReturnCode(), o); refusal != nil {
			return nil, fmt.Errorf("connect to %s: %w", u, refusal)
		}
		return nil, fmt.Errorf("connect to %s: %w", u, because(ctx, err))
	}
	if err := l.subscribe(o.User, g, token.SessionPresent()); err != nil {
		l.close()
		return nil, fmt.Errorf("subscribe at %s: %w", u, because(ctx, err))
	}
	return l, nil
}

func (l *link) newPaho(o Options, arrive func(*link, mqtt.Message), open mqtt.OpenConnectionFunc) mqtt.Client {
	po := mqtt.NewClientOptions().
		SetClientID(o.Device).SetUsername(string(o.User)).SetPassword(o.Password).
		SetProtocolVersion(4).SetCleanSession(false).
		SetAutoReconnect(false).SetConnectRetry(false).
		SetOrderMatters(true).SetAutoAckDisabled(true).
		SetKeepAlive(o.KeepAlive).SetPingTimeout(o.ConnectTimeout).
		SetConnectTimeout(o.ConnectTimeout).SetWriteTimeout(handOver).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { arrive(l, m) }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.lose(err) }).
		SetCustomOpenConnectionFn(open)
	// Paho wants one; where the connection goes is open's business.
	po.Servers = []*url.URL{{Scheme: "tcp"}}
	return mqtt.NewClient(po)
}

// subscribe asks for the inbox, whether or not the session has it already. A
// server without the session is told where to continue.
func (l *link) subscribe(user postbox.User, g *ledger, session bool) error {
	inbox := "inbox/" + string(user)
	filters := map[string]byte{inbox: 1}
	if place, ok := g.resume(); ok && !session {
		filters[inbox+"/since/"+place.String()] = 1
	}
	token := l.paho.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	select {
	case <-token.Done():
	case <-l.subscribed:
		return nil
	case <-l.lost:
		return l.err
	}
	if err := token.Error(); err != nil {
		return err
	}
	for filter, granted := range token.Result() {
		if granted > 2 { // 0x80: failure [MQTT-3.9.3-2]
			return postbox.Errorf(postbox.CodeForbidden, "the server refuses the subscription to %s", filter)
		}
	}
	l.prove()
	return nil
}

// prove notes that the inbox is subscribed to. What arrives proves it as well
// as the SUBACK, which may be far behind: the program would not be handed what
// a resumed session sends before it, nor acknowledge it.
func (l *link) prove() { l.proof.Do(func() { close(l.subscribed) }) }

// publish hands a message to Paho, and reports whether it took it. Its token
// is not waited for: a PUBACK of MQTT 3.1.1 is given to a refused message too.
func (l *link) publish(topic string, body []byte) bool {
	token := l.paho.Publish(topic, 1, false, body)
	select {
	case <-token.Done():
		return token.Error() == nil
	default:
		return true
	}
}

// because prefers the reason why ctx ended to what that did to the connection.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errors.Join(context.Cause(ctx), err)
}
