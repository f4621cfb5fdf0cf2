package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// A device that connects again ends its earlier connection, which is told so,
// and goes on where that was.
func TestTakeover(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		for _, l := range []login{{version: v, clean: v < 5, id: "phone"}, durable(v, "", "phone")} {
			l.user = w.user("alice")
			old := w.connect(t, l)
			old.listen(l.user)
			w.fill(l.user, 1)
			old.entry(1)
			c, ack := w.login(t, l)
			keeps := l.props.SessionExpiryIntervalFlag || v < 5 && !l.clean
			if ack.ReasonCode != 0 || ack.SessionPresent != keeps {
				t.Errorf("CONNACK %#x, session present %v", ack.ReasonCode, ack.SessionPresent)
			}
			if reason := old.Ended(); v == 5 && reason != packets.ErrSessionTakenOver.Code {
				t.Errorf("the old connection ended with %#x, want 0x8e", reason)
			}
			if keeps {
				c.puback(c.entry(1).PacketID)
			} else {
				c.Quiet()
				c.listen(l.user)
			}
			w.fill(l.user, 1)
			c.entry(2)
		}
	})
}

// A client id belongs to its user: another's is another device.
func TestTakeoverIsPerUser(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, eve := w.user("alice"), w.user("eve")
		a := w.connect(t, durable(v, alice, "phone"))
		a.listen(alice)
		w.fill(alice, 1)
		a.entry(1)
		e, ack := w.login(t, durable(v, eve, "phone"))
		if ack.SessionPresent {
			t.Error("another user's session was taken over")
		}
		e.listen(eve)
		w.fill(alice, 1)
		a.entry(2)
		a.Quiet()
		e.Quiet()
		a.Leave()
		e.Quiet()
	})
}

// A device that does not read any more does not hold up its own return.
func TestTakeoverOfAStalledDevice(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	old := w.connect(t, login{version: 5, user: bob, id: "phone"})
	old.listen(bob)
	s := w.connect(t, login{version: 5, user: alice, id: "phone"})
	big := string(make([]byte, 60<<10))
	for range 150 { // some 12 MB, and nobody reads
		s.say("inbox/"+bob, big)
	}
	began := time.Now()
	c := w.connect(t, login{version: 5, user: bob, id: "phone"})
	c.listen(bob)
	s.say("inbox/"+bob, "x")
	if _, e := c.receive(); e.body() != "x" {
		t.Errorf("received %.20q", e.body())
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the return took %v", took)
	}
}

// Of many connections with one id exactly one stays, and it works.
func TestRacingConnects(t *testing.T) {
	const racers = 50
	w := sharedWorld(t)
	for _, v := range []byte{4, 5} {
		for _, l := range []login{{version: v, clean: v < 5, id: "phone"}, durable(v, "", "phone")} {
			t.Run(fmt.Sprintf("version %d, expiry %d, clean %v", v, l.props.SessionExpiryInterval, l.clean), func(t *testing.T) {
				l.user = w.user("alice")
				conns := make([]*wire, racers)
				for i := range conns {
					conns[i] = w.dial(t)
					conns[i].Version = v
				}
				var start sync.WaitGroup
				start.Add(1)
				ended, stays := make(chan struct{}, racers), make(chan *wire, racers)
				for _, c := range conns {
					go func() {
						start.Wait()
						if body := c.race(l); body == "stay" {
							stays <- c
						} else {
							ended <- struct{}{}
						}
					}()
				}
				start.Done()
				for n := range racers - 1 {
					select {
					case <-ended:
					case <-time.After(patience):
						t.Fatalf("%d of %d connections ended, want all but one", n, racers)
					}
				}
				w.connect(t, login{user: w.user("bob"), id: "phone"}).say("inbox/"+l.user, "stay")
				select {
				case c := <-stays:
					c.Quiet()
				case <-ended:
					t.Error("none stayed")
				case <-time.After(patience):
					t.Error("the one that stayed receives nothing")
				}
			})
		}
	}
}

// race connects, subscribes from the beginning, and returns the body of what
// it receives, or nothing when the connection ends before. A session that is
// resumed may receive before its SUBACK.
func (c *wire) race(l login) string {
	subscribe := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, ProtocolVersion: c.Version,
		Filters: packets.Subscriptions{{Filter: "inbox/" + l.user + "/since/0"}, {Filter: "inbox/" + l.user, Qos: 1}},
	}
	_, _ = c.Net.Write(append(l.packetBytes(c.T), mqtttest.Encode(c.T, subscribe)...))
	body, granted := "", false
	for body == "" || !granted {
		pk, err := c.Next()
		if err != nil {
			return ""
		}
		switch pk.FixedHeader.Type {
		case packets.Publish:
			body = open(c.T, pk).body()
		case packets.Suback:
			granted = true
		}
	}
	return body
}
