package hooks_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What is wrong with Mochi's sessions, wills and retained messages. See
// docs/mochi.md.

// A live session that ends with its connection is said to be present.
func TestMochiSessionPresent(t *testing.T) {
	t.Parallel()
	taken := func(addr, user string) bool {
		connect(t, addr, connectPacket(5, user, "phone", true))
		_, ack := connect(t, addr, connectPacket(5, user, "phone", false))
		return ack.SessionPresent
	}
	if b := newBare(t, nil); !taken(b.addr, "bob") {
		t.Error("bare: no session is present")
	}
	s := newPostbox(t, slog.DiscardHandler)
	if taken(s.addr, s.user("bob")) {
		t.Error("a session is present that had no life")
	}
}

// A session that expires leaves its subscriptions: the next client of its id
// has them without asking.
func TestMochiExpiredSessionLeavesSubscriptions(t *testing.T) {
	t.Parallel()
	short := func(user string) packets.Packet {
		pk := session5(user, "phone")
		pk.Properties.SessionExpiryInterval = 1
		return pk
	}
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, short("bob"))
	p.subscribe(1, "a")
	p.Leave()
	await(t, "the end of the session", func() bool { _, there := b.Clients.Get("phone"); return !there })
	p, _ = connect(t, b.addr, connectPacket(5, "bob", "phone", true))
	sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	sender.publishAll("a", 1)
	p.Expect(packets.Publish) // without SUBSCRIBE

	s := newPostbox(t, slog.DiscardHandler)
	bob := s.user("bob")
	p, _ = connect(t, s.addr, short(bob))
	p.subscribe(1, "inbox/"+bob)
	p.Leave()
	await(t, "the end of the session", func() bool {
		return s.number(`SELECT count(*) FROM postbox.devices 
			WHERE disconnected_at IS NULL OR disconnected_at + expires_after * interval '1 second' > now()`) == 0
	})
	p, ack := connect(t, s.addr, connectPacket(5, bob, "phone", false))
	if ack.SessionPresent {
		t.Error("the session is still there")
	}
	p.publishAll("inbox/"+bob, 1)
	p.Quiet()
}

// At a takeover the end of the old connection comes after the beginning of the
// new one. That ours ends before: TestResendWaitsForTheEarlierConnection.
func TestMochiOrderOfATakeover(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	note := func(what string) func(*mqtt.Client) {
		return func(*mqtt.Client) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
	}
	b := newBare(t, nil, &probe{authenticates: true, connected: note("begins"), disconnected: note("ends")})
	connect(t, b.addr, session5("bob", "phone"))
	connect(t, b.addr, session5("bob", "phone"))
	await(t, "the end of the first", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 3 })
	mu.Lock() // the end of the second may come any time
	defer mu.Unlock()
	if got := strings.Join(order, ", "); got != "begins, begins, ends" {
		t.Errorf("bare: %s", got)
	}
}

// dying is a CONNECT with a will.
func dying(v byte, topic, body string, p packets.Properties) packets.Packet {
	pk := connectPacket(v, "eve", "eve", true)
	c := &pk.Connect
	c.WillFlag, c.WillTopic, c.WillPayload, c.WillProperties = true, topic, []byte(body), p
	return pk
}

// Of a will's properties those that are not the user's own are lost, and one
// that was delayed comes with an expiry. Ours: TestWillProperties,
// TestDelayedWill, TestWillExpiry.
func TestMochiWillProperties(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(5, "bob", "bob", true))
	p.subscribe(1, "a")
	w, _ := connect(t, b.addr, dying(5, "a", "x", packets.Properties{ContentType: "text/plain"}))
	_ = w.Net.Close()
	if got := p.Expect(packets.Publish); got.Properties.ContentType != "" {
		t.Errorf("bare: the will has the content type %q", got.Properties.ContentType)
	}
	later := dying(5, "a", "x", packets.Properties{WillDelayInterval: 1})
	later.Properties.SessionExpiryInterval, later.Properties.SessionExpiryIntervalFlag = 60, true
	w, _ = connect(t, b.addr, later)
	_ = w.Net.Close()
	if got := p.Expect(packets.Publish); got.Properties.MessageExpiryInterval == 0 {
		t.Error("bare: a delayed will has no expiry")
	}
}

// A will without a payload is refused, also a client of 3.1.1 with a code that it
// does not know. Ours: TestEmptyWillIsAllowed, TestConnackCodesOf3.
func TestMochiEmptyWill(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	p := dial(t, b.addr)
	if ack := p.Connect(dying(4, "a", "", packets.Properties{})); ack.ReasonCode < 6 {
		t.Errorf("bare: CONNACK %#x, want one that 3.1.1 does not know", ack.ReasonCode)
	}
}

// A reason without properties is overlooked in a DISCONNECT: a will that is
// asked for is not sent. Ours: TestWillAskedForAtDisconnect.
func TestMochiDisconnectWithReasonOnly(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(5, "bob", "bob", true))
	p.subscribe(1, "a")
	w, _ := connect(t, b.addr, dying(5, "a", "x", packets.Properties{}))
	w.Write([]byte{0xe0, 1, 4})
	w.Ended()
	p.Quiet()
}

// A 3.1.1 client whose publish the check refuses is disconnected, with a packet
// that its version does not have. Ours stays: TestRefusals3.
func TestMochiRefusalEnds3(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil, &probe{authenticates: true, acl: func(_ string, write bool) bool { return !write }})
	p, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	p.Send(publishPacket(1, 1, "a", "x"))
	p.Expect(packets.Disconnect)
	p.Ended()
}

// A retained message is not found by a filter that ends in the level above it;
// and whoever may publish may retain, without a bound. Postbox retains nothing
// that a client publishes.
func TestMochiRetained(t *testing.T) {
	t.Parallel()
	retained := func(topic string) packets.Packet {
		pk := publishPacket(1, 1, topic, "x")
		pk.FixedHeader.Retain = true
		return pk
	}
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	p.Send(retained("foo/bar/baz"))
	p.Expect(packets.Puback)
	p.subscribe(1, "foo/+/baz/#")
	p.Quiet()
	p.subscribe(2, "foo/bar/baz")
	p.Expect(packets.Publish)

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	p, _ = connect(t, s.addr, connectPacket(4, alice, "phone", true))
	for _, topic := range []string{"inbox/" + alice, "signal/" + alice, "reply/" + alice + "/x"} {
		p.Send(retained(topic))
		p.Until(packets.Puback)
	}
	p, _ = connect(t, s.addr, connectPacket(4, alice, "page", true))
	for i, topic := range []string{"inbox/" + alice, "signal/" + alice, "reply/" + alice + "/x"} {
		p.subscribe(uint16(i+1), topic)
	}
	p.Quiet()
}

// An alias that was never set is taken. Ours ends the connection:
// TestMochiTopicAliasPassesTheCheck.
func TestMochiUnknownAlias(t *testing.T) {
	t.Parallel()
	b := newBare(t, func(o *mqtt.Options) { o.Capabilities.TopicAliasMaximum = 10 })
	p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	pk := publishPacket(1, 1, "", "x")
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 7, true
	p.Send(pk)
	if ack := p.Expect(packets.Puback); ack.ReasonCode >= 0x80 {
		t.Errorf("bare: PUBACK %#x", ack.ReasonCode)
	}
}
