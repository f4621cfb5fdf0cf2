package hooks_test

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// 4. Sessions are taken over by client id alone, whoever the user is.
func TestMochiTakeoverIgnoresTheUser(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		b := newBare(t, nil)
		alice, _ := connect(t, b.addr, connectPacket(4, "alice", "phone", false))
		alice.subscribe(1, "inbox/alice")
		eve, ack := connect(t, b.addr, connectPacket(4, "eve", "phone", false))
		if !ack.SessionPresent {
			t.Error("the session was not taken over")
		}
		alice.Ended()
		sender, _ := connect(t, b.addr, connectPacket(4, "bob", "bob", true))
		sender.Send(publishPacket(1, 1, "inbox/alice", "private"))
		if got := eve.Expect(packets.Publish); string(got.Payload) != "private" {
			t.Errorf("eve received %q", got.Payload)
		}
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		for _, v := range []byte{4, 5} {
			alice, eve := s.user("alice"), s.user("eve")
			a, _ := connect(t, s.addr, connectPacket(v, alice, "phone", false))
			a.subscribe(1, "inbox/"+alice)
			e, ack := connect(t, s.addr, connectPacket(v, eve, "phone", false))
			if ack.SessionPresent {
				t.Error("eve got a session")
			}
			a.Send(publishPacket(1, 1, "inbox/"+alice, "private"))
			a.Expect(packets.Puback)
			a.Expect(packets.Publish)
			e.Quiet()
		}
	})
}

// 5. A will is published without ACL and without OnPublish.
func TestMochiWillPassesUnchecked(t *testing.T) {
	t.Parallel()
	dying := func(v byte, user, id, topic string) packets.Packet {
		pk := connectPacket(v, user, id, true)
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, topic, []byte("from the grave")
		return pk
	}
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		var asked atomic.Int32
		b := newBare(t, nil, &probe{
			authenticates: true,
			acl:           func(_ string, write bool) bool { return !write },
			publish:       func(pk packets.Packet) (packets.Packet, error) { asked.Add(1); return pk, packets.ErrRejectPacket },
		})
		bob, _ := connect(t, b.addr, connectPacket(4, "bob", "bob", true))
		bob.subscribe(1, "inbox/bob")
		p, _ := connect(t, b.addr, dying(4, "eve", "eve", "inbox/bob"))
		_ = p.Net.Close()
		if got := bob.Expect(packets.Publish); string(got.Payload) != "from the grave" || asked.Load() != 0 {
			t.Errorf("received %q; OnPublish was asked %d times", got.Payload, asked.Load())
		}
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		eve, bob := s.user("eve"), s.user("bob")
		p, _ := connect(t, s.addr, connectPacket(4, bob, "phone", true))
		p.subscribe(1, "inbox/"+bob)
		p.subscribe(2, "signal/"+bob)
		// Not stored, so not allowed.
		for _, topic := range []string{"signal/" + bob, "$SYS/x", "reply/" + bob + "/x"} {
			refused := dial(t, s.addr)
			refused.Send(dying(4, eve, "page", topic))
			if ack := refused.Expect(packets.Connack); ack.ReasonCode == 0 {
				t.Errorf("a will to %s is accepted", topic)
			}
		}
		w, _ := connect(t, s.addr, dying(4, eve, "page", "inbox/"+bob))
		_ = w.Net.Close()
		got := p.Expect(packets.Publish)
		if !strings.Contains(string(got.Payload), `"from":"`+eve+`"`) {
			t.Errorf("received %s", got.Payload)
		}
		if n := s.number(`SELECT count(*) FROM postbox.messages WHERE body = 'from the grave'`); n != 1 {
			t.Errorf("stored %d times", n)
		}
	})
}

// 6. The access check sees an empty topic where an alias is used.
func TestMochiTopicAliasPassesTheCheck(t *testing.T) {
	t.Parallel()
	aliased := publishPacket(0, 0, "open", "x")
	aliased.Properties.TopicAlias, aliased.Properties.TopicAliasFlag = 1, true
	var mu sync.Mutex
	var seen []string
	b := newBare(t, func(o *mqtt.Options) { o.Capabilities.TopicAliasMaximum = 10 }, &probe{
		authenticates: true,
		acl: func(topic string, write bool) bool {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, topic)
			return true
		},
	})
	p, _ := connect(t, b.addr, connectPacket(5, "eve", "eve", true))
	p.Send(aliased)
	aliased.TopicName = ""
	p.Send(aliased)
	p.Quiet()
	mu.Lock()
	if len(seen) != 2 || seen[1] != "" {
		t.Errorf("bare: the check saw %q", seen)
	}
	mu.Unlock()

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	for _, topic := range []string{"inbox/" + alice, ""} {
		p, ack := connect(t, s.addr, connectPacket(5, alice, "phone", true))
		if ack.Properties.TopicAliasMaximum != 0 {
			t.Errorf("announces %d aliases", ack.Properties.TopicAliasMaximum)
		}
		aliased.TopicName = topic
		p.Send(aliased)
		if reason := p.Ended(); reason != packets.ErrTopicAliasInvalid.Code {
			t.Errorf("topic %q with an alias: ended with %#x, want 0x94", topic, reason)
		}
	}
}

// 7. The answers of several hooks are OR-ed.
func TestMochiAnswersAreORed(t *testing.T) {
	t.Parallel()
	no, yes := &probe{acl: func(string, bool) bool { return false }}, &probe{authenticates: true}
	b := newBare(t, nil, no, yes)
	p, _ := connect(t, b.addr, connectPacket(4, "eve", "eve", true))
	if code := p.subscribe(1, "inbox/bob"); code != 1 {
		t.Errorf("bare: SUBACK %#x, one hook refused and one allowed", code)
	}

	s := newPostbox(t, slog.DiscardHandler)
	eve, bob := s.user("eve"), s.user("bob")
	pk := connectPacket(4, eve, "page", true)
	pk.Connect.Password = []byte("wrong")
	refused := dial(t, s.addr)
	refused.Send(pk)
	if ack := refused.Expect(packets.Connack); ack.ReasonCode != 4 {
		t.Errorf("a wrong password: CONNACK %#x", ack.ReasonCode)
	}
	p, _ = connect(t, s.addr, connectPacket(4, eve, "page", true))
	if code := p.subscribe(1, "inbox/"+bob); code != 0x80 {
		t.Errorf("another's inbox: SUBACK %#x", code)
	}
}

// 8. Before CONNECT there is no deadline and no limit of size.
func TestMochiBeforeConnect(t *testing.T) {
	t.Parallel()
	huge := []byte{0x10, 0xff, 0xff, 0xff, 0x7f} // 256 MiB, of which it makes room
	b := newBare(t, nil)
	p := dial(t, b.addr)
	p.Write([]byte{0x10, 0x80, 0x80, 0x04}) // 64 KiB are enough to show it
	_ = p.Net.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := p.In.ReadByte(); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("bare: %v, want a connection that waits", err)
	}
	if n := mqtt.NewDefaultServerCapabilities().MaximumPacketSize; n != 0 {
		t.Errorf("bare: packets of at most %d bytes", n)
	}

	s := newPostbox(t, slog.DiscardHandler)
	for _, b := range [][]byte{huge, {0x10, 0x80, 0x80, 0x04}, {0xc0, 0}} {
		p := dial(t, s.addr)
		p.Write(b)
		began := time.Now()
		p.Ended()
		if took := time.Since(began); took > 5*time.Second { // the deadline is 10 s
			t.Errorf("% x: ended after %v", b, took)
		}
	}
}

// clock is a connection that notes its deadlines.
type clock struct {
	net.Conn
	mu       sync.Mutex
	deadline time.Time
}

func (c *clock) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

// 10. One and a half keep-alives are computed in 16 bits.
func TestMochiKeepAliveWraps(t *testing.T) {
	t.Parallel()
	const keepAlive = 50_000
	b := newBare(t, nil)
	near, far := net.Pipe()
	c := &clock{Conn: far}
	var work sync.WaitGroup
	work.Go(func() { b.establish(c) })
	pk := connectPacket(4, "alice", "alice", true)
	pk.Connect.Keepalive = keepAlive
	if _, err := near.Write(mqtttest.Encode(t, pk)); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	if left := time.Until(c.deadline); left > keepAlive*time.Second/2 {
		t.Errorf("bare: a keep-alive of %d s lasts %v", keepAlive, left)
	}
	c.mu.Unlock()
	_ = near.Close()
	work.Wait()

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	pk = connectPacket(5, alice, "phone", true)
	for _, asked := range []uint16{keepAlive, 0, 65535} {
		pk.Connect.Keepalive = asked
		if _, ack := connect(t, s.addr, pk); !ack.Properties.ServerKeepAliveFlag || ack.Properties.ServerKeepAlive != 3600 {
			t.Errorf("asked for %d: the server's keep-alive is %d", asked, ack.Properties.ServerKeepAlive)
		}
	}
}

// 14. The check sees the whole filter of a shared subscription.
func TestMochiSharedFilterInTheCheck(t *testing.T) {
	t.Parallel()
	const shared = "$share/g/inbox/bob"
	var seen atomic.Value
	b := newBare(t, nil, &probe{authenticates: true, acl: func(topic string, _ bool) bool { seen.Store(topic); return true }})
	p, _ := connect(t, b.addr, connectPacket(5, "eve", "eve", true))
	if code := p.subscribe(1, shared); code != 1 || seen.Load() != shared {
		t.Errorf("bare: SUBACK %#x, the check saw %v", code, seen.Load())
	}

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	for _, v := range []byte{4, 5} {
		p, _ := connect(t, s.addr, connectPacket(v, alice, "phone", true))
		for _, filter := range []string{"$share/g/inbox/" + alice, "$SHARE/g/inbox/" + alice, "$share/g/#"} {
			if code := p.subscribe(1, filter); code < 0x80 {
				t.Errorf("%s: SUBACK %#x", filter, code)
			}
		}
		p.Send(publishPacket(1, 1, "inbox/"+alice, "x"))
		p.Expect(packets.Puback)
		p.Quiet()
	}
}
