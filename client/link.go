package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
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

// connect makes a connection that is subscribed to all that the client takes.
// What arrives goes to c.arrive, one at a time, in order, also before connect
// returns.
func (c *Client) connect(ctx context.Context) (*link, error) {
	o, u := c.o, c.url
	ctx, cancel := context.WithTimeoutCause(ctx, o.ConnectTimeout, fmt.Errorf("no answer within %s", o.ConnectTimeout))
	defer cancel()
	password, err := c.password(ctx)
	if err != nil {
		return nil, fmt.Errorf("get the credentials of %s: %w", o.User, err)
	}
	l := newLink()
	abandon := func() bool { return true }
	at, known := c.place()
	// A place that the program keeps itself is told each time: a session, with a
	// place of the server's, would only be in its way.
	clean := known && o.Cursor != nil
	l.paho = l.newPaho(o, password, clean, c.arrive, func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
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
	c.ledger.begin(l)
	token := l.paho.Connect().(*mqtt.ConnectToken)
	<-token.Done() // ends with ctx, which closes the connection
	defer func() { abandon() }()
	if err := token.Error(); err != nil {
		if refusal := refusalOf(token.ReturnCode(), o); refusal != nil {
			if refusal.Code == postbox.CodeUnauthenticated {
				c.refused = password
			}
			return nil, fmt.Errorf("connect to %s: %w", u, refusal)
		}
		return nil, fmt.Errorf("connect to %s: %w", u, because(ctx, err))
	}
	filters := c.filters()
	if known && !token.SessionPresent() {
		filters["inbox/"+string(o.User)+"/since/"+at.String()] = 1
	}
	if err := l.subscribe(filters, c.unheard); err != nil {
		l.close()
		return nil, fmt.Errorf("subscribe at %s: %w", u, because(ctx, err))
	}
	return l, nil
}

// password is what to connect with. Only one connect runs at a time.
func (c *Client) password(ctx context.Context) (string, error) {
	if c.o.Credentials == nil {
		return c.o.Password, nil
	}
	refused := c.refused
	c.refused = ""
	return c.o.Credentials(ctx, refused)
}

// place is where a server without a session has to go on.
func (c *Client) place() (postbox.Position, bool) {
	at, known := c.ledger.resume()
	if !known && c.o.FromStart {
		return postbox.Position{}, true
	}
	return at, known
}

// filters are what the client subscribes to. What is not kept is QoS 0.
func (c *Client) filters() map[string]byte {
	filters := map[string]byte{"inbox/" + string(c.o.User): 1, replyFilter(c.o.User, c.o.Device): 0}
	if c.o.Signals {
		filters["signal/"+string(c.o.User)] = 0
	}
	c.watched.into(filters)
	return filters
}

// unheard is told which filters the server refuses, and says whether the client
// cannot do without.
func (c *Client) unheard(filter string) bool {
	if c.watched.has(filter) {
		c.o.Logger.Warn("a presence is not watched any more: the server refuses the subscription", "filter", filter)
		return false
	}
	return true
}

// replyFilter is where replies come without a response topic: the device's name
// is percent-encoded (RFC 3986 §2.1).
func replyFilter(user postbox.User, device string) string {
	var b strings.Builder
	b.WriteString("reply/" + string(user) + "/")
	for i := range len(device) {
		switch c := device[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (l *link) newPaho(o Options, password string, clean bool, arrive func(*link, mqtt.Message), open mqtt.OpenConnectionFunc) mqtt.Client {
	po := mqtt.NewClientOptions().
		SetClientID(o.Device).SetUsername(string(o.User)).SetPassword(password).
		SetProtocolVersion(4).SetCleanSession(clean).
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

// subscribe asks for filters, whether or not the session has them already.
// refused decides whether one that is refused fails all.
func (l *link) subscribe(filters map[string]byte, refused func(filter string) bool) error {
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
		if granted > 2 && refused(filter) { // 0x80: failure [MQTT-3.9.3-2]
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

// watch subscribes to more, and reports what the server says.
func (l *link) watch(filters map[string]byte) (granted map[string]byte, err error) {
	token := l.paho.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	select {
	case <-token.Done():
		return token.Result(), token.Error()
	case <-l.lost:
		return nil, l.err
	}
}

// unwatch ends subscriptions.
func (l *link) unwatch(filters map[string]byte) error {
	token := l.paho.Unsubscribe(slices.Collect(maps.Keys(filters))...)
	select {
	case <-token.Done():
		return token.Error()
	case <-l.lost:
		return l.err
	}
}

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
