package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/broker"
)

// telemetry lets everybody read telemetry/… and, while open, write to it.
func telemetry(open *atomic.Bool) func(*broker.Options) {
	return func(o *broker.Options) {
		o.MayUse = func(_ postbox.User, topic string, write bool) bool {
			return strings.HasPrefix(topic, "telemetry/") && open.Load() && (!write || topic != "telemetry/locked")
		}
	}
}

// A message at QoS 2 is given up when its packet id is used for another topic; so the
// same under that id is a new one, also after the next connection.
func TestAttachedQoS2GivenUp(t *testing.T) {
	t.Parallel()
	open := new(atomic.Bool)
	open.Store(true)
	a := attach(t, mochiTCP, telemetry(open))
	for _, v := range []byte{4, 5} {
		for qos, answer := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
			alice := a.user("alice")
			l := durable(v, alice, "phone")
			c := a.enter(t, l)
			p := publication{id: 7, qos: 2, topic: "inbox/" + alice, body: "tick"}
			c.publish(p)
			c.Expect(packets.Pubrec)
			c.Leave()
			c = a.enter(t, l)
			c.publish(publication{id: 7, qos: qos, topic: "telemetry/kitchen", body: "21"})
			c.Expect(answer)
			if qos == 2 {
				c.release(7)
			}
			c.Quiet()
			c.Leave()
			c = a.enter(t, l)
			c.publish(p)
			c.Expect(packets.Pubrec)
			if n := a.sent(alice); n != 2 {
				t.Errorf("version %d, QoS %d: %d messages are stored, want 2", v, qos, n)
			}
			c.Leave()
		}
	}
}

// Topics of the server's owner go on working, by Mochi: publishes of every QoS,
// subscriptions at QoS 0, retained messages, wills, sessions; beside the inbox, on
// the same connections.
func TestAttachedOtherTopics(t *testing.T) {
	t.Parallel()
	open := new(atomic.Bool)
	open.Store(true)
	a := attach(t, mochiTCP, telemetry(open))
	for _, v := range []byte{4, 5} {
		alice, bob, topic := a.user("alice"), a.user("bob"), fmt.Sprintf("telemetry/%d/", v)
		l := durable(v, alice, "sensor")
		l.will = &will{topic: topic + "state", body: "lost"}
		s, c := a.enter(t, l), a.enter(t, durable(v, bob, "panel"))
		if codes := c.subscribe(topic+"#", "inbox/"+bob); !bytes.Equal(codes, []byte{0, 1}) {
			t.Fatalf("granted %#x, want 0 and 1", codes)
		}
		for qos, answer := range []byte{0, packets.Puback, packets.Pubrec} {
			id := uint16(7 * qos)
			s.publish(publication{id: id, qos: byte(qos), topic: topic + "kitchen", body: "21"})
			if qos > 0 {
				if ack := s.Expect(answer); ack.PacketID != id || ack.ReasonCode > 1 {
					t.Errorf("QoS %d: acknowledged %d with %#x", qos, ack.PacketID, ack.ReasonCode)
				}
			}
			if qos == 2 {
				s.release(id)
			}
			if pk := c.Expect(packets.Publish); pk.TopicName != topic+"kitchen" || string(pk.Payload) != "21" || pk.FixedHeader.Qos != 0 {
				t.Errorf("QoS %d: delivered %q on %q at QoS %d", qos, pk.Payload, pk.TopicName, pk.FixedHeader.Qos)
			}
		}
		if n := a.sent(alice); n != 0 {
			t.Errorf("%d messages are stored", n)
		}
		s.say("inbox/"+bob, "hello")
		c.next(1)

		// The session keeps the filter; what is retained comes with SUBSCRIBE.
		c.Leave()
		s.Send(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true}, TopicName: topic + "kept", Payload: []byte("22"),
		})
		s.say("inbox/"+bob, "meanwhile")
		c = a.enter(t, durable(v, bob, "panel"))
		c.next(2)
		s.Vanish()
		if pk := c.Expect(packets.Publish); pk.TopicName != topic+"state" || string(pk.Payload) != "lost" {
			t.Errorf("instead of the will came %q on %q", pk.Payload, pk.TopicName)
		}
		c.ask(packets.Properties{}, packets.Subscription{Filter: topic + "kept", Qos: 1})
		c.Until(packets.Suback)
		if pk := c.Expect(packets.Publish); string(pk.Payload) != "22" || !pk.FixedHeader.Retain {
			t.Errorf("instead of the retained message came %q", pk.Payload)
		}
		if err := a.mochi.Publish(topic+"server", []byte("23"), false, 0); err != nil {
			t.Fatal(err)
		}
		if pk := c.Expect(packets.Publish); string(pk.Payload) != "23" {
			t.Errorf("instead of the server's own publish came %q", pk.Payload)
		}
		c.Leave()
	}
}

// The owner's function decides, and only about topics that are not Postbox's.
func TestAttachedOtherTopicsRefused(t *testing.T) {
	t.Parallel()
	open := new(atomic.Bool)
	open.Store(true)
	var asked atomic.Pointer[string]
	a := attach(t, oursTCP, func(o *broker.Options) {
		telemetry(open)(o)
		inner := o.MayUse
		o.MayUse = func(user postbox.User, topic string, write bool) bool {
			if postbox.Reserved(topic) {
				asked.Store(&topic)
				return true
			}
			return inner(user, topic, write)
		}
	})
	alice, bob := a.user("alice"), a.user("bob")
	c := a.enter(t, durable(5, alice, "phone"))
	for filter, want := range map[string]byte{
		"telemetry/#": 0, "other/x": 0x87, "#": 0x87, "+/" + bob: 0x87, "inbox/" + bob: 0x87, "$SYS/#": 0x87,
		"$share/g/telemetry/#": 0x87, "telemetry/1/2/3/4/5/6/7/8": 0x8f,
	} {
		if codes := c.subscribe(filter); codes[0] != want {
			t.Errorf("%s: %#x, want %#x", filter, codes[0], want)
		}
	}
	c.publish(
		publication{id: 1, qos: 1, topic: "telemetry/locked", body: "x"},
		publication{id: 2, qos: 2, topic: "other/x", body: "x"},
		publication{id: 3, qos: 1, topic: "presence/" + bob, body: "x"},
	)
	for _, want := range []struct{ kind, reason byte }{{packets.Puback, 0x87}, {packets.Pubrec, 0x87}, {packets.Puback, 0x87}} {
		if ack := c.Expect(want.kind); ack.ReasonCode != want.reason {
			t.Errorf("publish %d: %#x, want %#x", ack.PacketID, ack.ReasonCode, want.reason)
		}
	}
	l := login{version: 5, user: bob, id: "laptop", will: &will{topic: "telemetry/locked", body: "x"}}
	if ack := a.open(t).login(l); ack.ReasonCode != 0x87 {
		t.Errorf("a will that may not be: CONNACK %#x, want 0x87", ack.ReasonCode)
	}
	// Who loses the right gets nothing any more, though the filter is there.
	open.Store(false)
	_ = a.mochi.Publish("telemetry/kitchen", []byte("secret"), false, 0)
	// The server itself cannot write to an inbox past the database either.
	c.listen(alice)
	_ = a.mochi.Publish("inbox/"+alice, []byte("forged"), false, 1)
	c.Quiet()
	if topic := asked.Load(); topic != nil {
		t.Errorf("the owner's function was asked about %q", *topic)
	}
}

// The owner's accounts: who they let in gets an inbox, who they refuse is told so,
// and a fault of theirs is no wrong password.
func TestAttachedAccounts(t *testing.T) {
	t.Parallel()
	listenerKinds(t, func(t *testing.T, kind string) {
		log := new(logged)
		a := attach(t, kind, func(o *broker.Options) {
			o.Authenticate = func(_ context.Context, name string, password []byte) (postbox.User, error) {
				switch string(password) {
				case "right":
					return postbox.User(strings.ToLower(name)), nil
				case "broken":
					return "", errors.New("the directory is away")
				}
				return "", postbox.ErrUnauthenticated
			}
		}, func(w *world) { w.log = slog.NewTextHandler(log, nil) })
		for _, v := range []byte{4, 5} {
			for password, want := range map[string][2]byte{"wrong": {4, 0x86}, "broken": {3, 0x88}} {
				if ack := a.open(t).login(login{version: v, user: "Zoe", password: password, id: "phone"}); ack.ReasonCode != code(v, want[0], want[1]) {
					t.Errorf("version %d, %s: CONNACK %#x", v, password, ack.ReasonCode)
				}
			}
		}
		if n := a.number(`SELECT count(*) FROM postbox.users`); n != 0 {
			t.Errorf("%d users after refusals", n)
		}
		if err := a.engine.AddUser(t.Context(), "yan"); err != nil {
			t.Fatal(err)
		}
		c := a.enter(t, login{version: 5, user: "Zoe", password: "right", id: "phone"})
		c.say("inbox/yan", "hello")
		if n := a.stored("zoe", "hello"); n != 1 {
			t.Errorf("stored %d times in zoe's name", n)
		}
		if err := a.engine.AddUser(t.Context(), "yan"); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := a.engine.AddUser(t.Context(), "No Name"); !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("a name that is none: %v", err)
		}
		if _, err := a.store.UserByName(t.Context(), "yan"); err != nil {
			t.Error(err)
		}
		if err := a.store.SetDisabled(t.Context(), "zoe", true); err != nil {
			t.Fatal(err)
		}
		c.Ended()
		if ack := a.open(t).login(login{version: 5, user: "zoe", password: "right", id: "phone"}); ack.ReasonCode != 0x8a {
			t.Errorf("disabled: CONNACK %#x, want 0x8a", ack.ReasonCode)
		}
		if !strings.Contains(log.String(), "the directory is away") {
			t.Error("the fault of the owner's function is not in the log")
		}
	})
}

// permissive is a hook that says yes to everything.
type permissive struct{ mqtt.HookBase }

func (permissive) ID() string { return "allow-all" }

func (permissive) Provides(event byte) bool {
	return event == mqtt.OnConnectAuthenticate || event == mqtt.OnACLCheck
}

// A hook that would open what is closed is refused when the server is attached,
// when it starts, and, if it is added later, nobody is let in.
func TestAttachedBesideAPermissiveHook(t *testing.T) {
	t.Parallel()
	log := new(logged)
	a := attach(t, oursTCP, nil, func(w *world) { w.log = slog.NewTextHandler(log, nil) })
	alice := a.user("alice")
	a.enter(t, login{user: alice, id: "phone"}).Leave()
	if err := a.mochi.AddHook(new(permissive), nil); err != nil {
		t.Fatal(err)
	}
	if ack := a.open(t).login(login{version: 5, user: alice, id: "phone"}); ack.ReasonCode != 0x88 {
		t.Errorf("CONNACK %#x, want 0x88", ack.ReasonCode)
	}
	if !strings.Contains(log.String(), "allow-all") {
		t.Error("the log does not name the hook")
	}
	a.stop()
	a.mochi = mqtt.New(&mqtt.Options{Capabilities: broker.Capabilities(a.config), Logger: broker.MochiLogger(slog.New(a.log))})
	engine, err := broker.Attach(t.Context(), a.mochi, a.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.mochi.AddHook(new(permissive), nil); err != nil {
		t.Fatal(err)
	}
	if err := engine.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "allow-all") {
		t.Errorf("start: %v", err)
	}
	a.engine = engine
	a.stop()

	// Before the database is asked for anything.
	for name, o := range map[string]*mqtt.Options{"MaximumPacketSize": {}, "allow-all": {Capabilities: broker.Capabilities(a.config)}} {
		o.Logger = slog.New(slog.DiscardHandler)
		server := mqtt.New(o)
		if err := server.AddHook(new(permissive), nil); err != nil {
			t.Fatal(err)
		}
		_, err := broker.Attach(t.Context(), server, broker.Options{DatabaseURL: "postgres://127.0.0.1:1/none", Logger: o.Logger})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("attach: %v, want something about %s", err, name)
		}
	}
}

// What is attached before it is started lets nobody in, rather than keep them
// waiting.
func TestAttachedBeforeStart(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	alice := w.user("alice")
	server := mqtt.New(&mqtt.Options{Capabilities: broker.Capabilities(w.config), Logger: broker.MochiLogger(slog.New(w.log))})
	engine, err := broker.Attach(t.Context(), server, broker.Options{Config: w.config, DatabaseURL: w.url, Logger: slog.New(w.log)})
	if err != nil {
		t.Fatal(err)
	}
	a := &attached{world: w, kind: oursTCP, mochi: server, engine: engine}
	l := engine.Listener("t1", "127.0.0.1:0", nil)
	if err := server.AddListener(l); err != nil {
		t.Fatal(err)
	}
	a.addr = l.Address()
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.stop)
	if ack := a.open(t).login(login{version: 5, user: alice, id: "phone"}); ack.ReasonCode != 0x88 {
		t.Errorf("CONNACK %#x, want 0x88", ack.ReasonCode)
	}
	if err := engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.enter(t, login{version: 5, user: alice, id: "phone"}).say("inbox/"+alice, "x")
}
