package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox/client"
)

// patience bounds what a test waits for that must happen.
const patience = time.Minute

func options(url string) client.Options {
	return client.Options{URL: url, User: "alice", Password: "secret", Device: "phone",
		ReconnectMin: time.Millisecond, ReconnectMax: 20 * time.Millisecond}
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, c) })
	return c
}

func closeNow(t testing.TB, c *client.Client) {
	t.Helper()
	if err := c.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

func receive(t testing.TB, c *client.Client) client.Delivery {
	t.Helper()
	d, err := c.Receive(bounded(t))
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return d
}

// receiveBodies receives and acknowledges n entries and returns their bodies.
func receiveBodies(t testing.TB, c *client.Client, n int) []string {
	t.Helper()
	var bodies []string
	for range n {
		d := receive(t, c)
		bodies = append(bodies, string(d.Body))
		d.Ack()
	}
	return bodies
}

// eventually waits until the fake's state is as it must be.
func (f *fake) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		good := ok()
		f.mu.Unlock()
		if good {
			return
		}
	}
	f.t.Fatalf("never happened: %s", what)
}

// once returns a fault that strikes each body the first time only.
func once(bad fault) func(*packets.PublishPacket) fault {
	struck := make(map[string]bool)
	return func(p *packets.PublishPacket) fault {
		if struck[string(p.Payload)] {
			return fault{}
		}
		struck[string(p.Payload)] = true
		return bad
	}
}
