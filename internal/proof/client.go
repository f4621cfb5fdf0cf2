package proof

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// patience is how long the proofs wait for something that must happen.
const patience = 60 * time.Second

// Client is an MQTT client in a driver process.
type Client struct {
	ClientOptions
	d    *Driver
	name string

	mu      sync.Mutex
	changed chan struct{}
	up      bool
	ups     int
	session bool // of the last CONNACK
	granted []int
	subs    int
	errors  []Event
	ended   bool
	answers map[int]Event
	gone    []int // reason codes of DISCONNECT packets
}

func (c *Client) handle(e Event) {
	if e.Event == "message" {
		if c.OnMessage != nil {
			c.OnMessage(Delivery{
				Topic: e.Topic, QoS: e.QoS, Dup: e.Dup, Retain: e.Retain, Body: e.Body,
				User: e.User, ContentType: e.ContentType, UTF8: e.UTF8, Correlation: e.Correlation,
			})
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Event {
	case "up":
		c.up, c.session = true, e.Session
		c.ups++
	case "down":
		c.up = false
	case "subscribed":
		c.granted = e.Codes
		c.subs++
	case "answered":
		c.answers[e.N] = e
	case "error":
		c.errors = append(c.errors, e)
	case "disconnected":
		c.gone = append(c.gone, e.code())
	case "ended":
		c.up, c.ended = false, true
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits until cond, called with c.mu held, is true.
func (c *Client) until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		c.mu.Lock()
		ok, changed := cond(), c.changed
		errs := slices.Clone(c.errors)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("client %s: not %s after %v; its errors: %v", c.name, what, patience, errs[max(0, len(errs)-3):])
		}
	}
}

// WaitUp waits for a CONNACK that accepts and, if the client has
// subscriptions, for the SUBACK after it; it returns the granted codes.
func (c *Client) WaitUp(t testing.TB) []int {
	t.Helper()
	c.until(t, "up", func() bool { return c.up && (len(c.Subscribe) == 0 || c.subs >= c.ups) })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.granted
}

// SessionPresent is the flag of the last CONNACK. paho.mqtt.golang does not
// show it: it is false there.
func (c *Client) SessionPresent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Up tells whether the library says that it is connected.
func (c *Client) Up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// WaitDown waits until the library says that its connection is gone.
func (c *Client) WaitDown(t testing.TB) {
	t.Helper()
	c.until(t, "down", func() bool { return !c.up })
}

// WaitRefused waits for an error at connecting and returns its code, the one
// of CONNACK if the server sent one.
func (c *Client) WaitRefused(t testing.TB) int {
	t.Helper()
	c.until(t, "refused", func() bool { return len(c.errors) > 0 })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errors[0].code()
}

// Publish hands a message to the library and returns at once.
func (c *Client) Publish(p Publication) { c.d.do("publish", c.name, p) }

// Send publishes and waits until the library calls the publish complete. Its
// answer says nothing about what was on the wire: ask a tap.
func (c *Client) Send(t testing.TB, p Publication) Event {
	t.Helper()
	c.mu.Lock()
	p.N = len(c.answers) + 1
	c.mu.Unlock()
	c.Publish(p)
	c.until(t, "answered", func() bool { _, ok := c.answers[p.N]; return ok })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[p.N]
}

// Disconnect ends the client with a DISCONNECT packet and waits for it.
func (c *Client) Disconnect(t testing.TB) {
	t.Helper()
	c.d.do("disconnect", c.name, struct{}{})
	c.until(t, "ended", func() bool { return c.ended })
}

// Gone are the reason codes of the DISCONNECT packets that the server sent.
func (c *Client) Gone() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.gone)
}
