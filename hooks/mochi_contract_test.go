package hooks_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/hooks"
)

// Facts about Mochi v2.7.9 that this package relies on or fences; docs/mochi.md
// has them all. Each test first shows the fact on bare Mochi, and so
// fails when a new version mends it; then that it does not reach through
// Postbox.

// 1. What OnPublish returns is hardly heeded: only ErrRejectPacket refuses.
func TestMochiOnPublishErrors(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		var refusal error
		b := newBare(t, nil, &probe{authenticates: true, publish: func(pk packets.Packet) (packets.Packet, error) { return pk, refusal }})
		receiver, _ := connect(t, b.addr, connectPacket(4, "bob", "receiver", true))
		receiver.subscribe(1, "a")
		for name, test := range map[string]struct {
			err       error
			version   byte
			delivered bool
			reason    byte
		}{
			"plain error, 3.1.1": {errors.New("no"), 4, true, 0},
			"plain error, 5":     {errors.New("no"), 5, true, 0},
			"code, 3.1.1":        {packets.ErrNotAuthorized, 4, true, 0},
			"code, 5":            {packets.ErrNotAuthorized, 5, false, 0x87},
		} {
			refusal = test.err
			sender, _ := connect(t, b.addr, connectPacket(test.version, "alice", "sender", true))
			sender.Send(publishPacket(1, 1, "a", name))
			if ack := sender.Expect(packets.Puback); ack.ReasonCode != test.reason {
				t.Errorf("%s: PUBACK %#x, want %#x", name, ack.ReasonCode, test.reason)
			}
			if !test.delivered {
				receiver.Quiet()
				continue
			}
			if got := receiver.Expect(packets.Publish); string(got.Payload) != name {
				t.Errorf("%s: delivered %q", name, got.Payload)
			}
			receiver.Write([]byte{0x40, 2, byte(0), 1})
		}
		refusal = fmt.Errorf("wrapped: %w", packets.ErrNotAuthorized)
		sender, _ := connect(t, b.addr, connectPacket(5, "alice", "sender", true))
		sender.Send(publishPacket(1, 1, "a", "x"))
		await(t, "a panic", func() bool { return b.panics() == 1 })
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		alice, bob := s.user("alice"), s.user("bob")
		if _, err := s.store.DB().Exec(`INSERT INTO postbox.blocks (user_id, blocked_id)
			SELECT b.id, a.id FROM postbox.users a, postbox.users b WHERE a.name = $1 AND b.name = $2`, alice, bob); err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.DB().Exec(`INSERT INTO postbox.blocks (user_id, blocked_id)
			SELECT b.id, a.id FROM postbox.users a, postbox.users b WHERE a.name = $1 AND b.name = $2`, bob, alice); err != nil {
			t.Fatal(err)
		}
		receiver, _ := connect(t, s.addr, connectPacket(4, bob, "receiver", true))
		receiver.subscribe(1, "inbox/"+bob)
		for _, v := range []byte{4, 5} {
			sender, _ := connect(t, s.addr, connectPacket(v, alice, "sender", true))
			sender.Send(publishPacket(0, 0, "inbox/"+bob, "x"))
			sender.Send(publishPacket(1, 1, "inbox/"+bob, "x"))
			sender.Expect(packets.Puback)
			sender.Send(publishPacket(2, 2, "inbox/"+bob, "x"))
			sender.Expect(packets.Pubrec)
			sender.Quiet()
		}
		receiver.Quiet()
		if n := s.number(`SELECT count(*) FROM postbox.messages`); n != 0 {
			t.Errorf("%d refused messages stored", n)
		}
	})
}

// truncatedSubscribe is a SUBSCRIBE of MQTT 5 whose last filter lacks its
// options; the first one is granted before the decoder gets there.
var truncatedSubscribe = []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}

// 2. A truncated SUBSCRIBE panics in the decoder, and nothing recovers.
func TestMochiTruncatedSubscribe(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		b := newBare(t, nil)
		p, _ := connect(t, b.addr, connectPacket(5, "eve", "eve", true))
		p.subscribe(1, "x")
		p.Write(truncatedSubscribe)
		await(t, "a panic", func() bool { return b.panics() == 1 })
		if _, there := b.Clients.Get("eve"); !there {
			t.Error("bare Mochi has cleaned up after the panic")
		}
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		eve, bob := s.user("eve"), s.user("bob")
		other, _ := connect(t, s.addr, connectPacket(5, bob, "phone", true))
		keep := connectPacket(5, eve, "kept", false)
		keep.Properties.SessionExpiryInterval, keep.Properties.SessionExpiryIntervalFlag = 3600, true
		for _, pk := range []packets.Packet{connectPacket(5, eve, "clean", true), keep} {
			p, _ := connect(t, s.addr, pk)
			p.subscribe(1, "inbox/"+eve)
			p.subscribe(2, "signal/"+eve)
			p.Write(truncatedSubscribe)
			p.Ended()
		}
		await(t, "the end of both", func() bool {
			return s.number(`SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NOT NULL AND client_id = 'kept'`) == 1
		})
		other.Send(publishPacket(1, 1, "inbox/"+eve, "x"))
		other.Expect(packets.Puback)
		// The clean one is gone with its subscriptions, the kept one goes on.
		p, ack := connect(t, s.addr, connectPacket(5, eve, "clean", false))
		if ack.SessionPresent {
			t.Error("the clean session is still there")
		}
		p.Quiet()
		p, ack = connect(t, s.addr, keep)
		if !ack.SessionPresent {
			t.Error("the kept session is gone")
		}
		if pk := p.Expect(packets.Publish); !strings.Contains(string(pk.Payload), `"body":"x"`) {
			t.Errorf("received %s", pk.Payload)
		}
	})
}

// 3. One map holds the packet ids of both directions.
func TestMochiSharedPacketIDs(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		b := newBare(t, nil)
		p, _ := connect(t, b.addr, connectPacket(5, "bob", "bob", true))
		p.subscribe(9, "a")
		sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
		sender.Send(publishPacket(1, 1, "a", "x"))
		id := p.Expect(packets.Publish).PacketID
		if code := p.subscribe(id, "b"); code != 0x91 {
			t.Errorf("SUBSCRIBE with the id of a delivery: %#x, want 0x91", code)
		}
		client, _ := b.Clients.Get("bob")
		if _, there := client.State.Inflight.Get(id); !there {
			t.Fatal("the delivery is not outstanding")
		}
		p.Send(publishPacket(id, 1, "elsewhere", "x"))
		p.Expect(packets.Puback)
		// What may be there for a moment is the acknowledgement.
		if pk, there := client.State.Inflight.Get(id); there && pk.FixedHeader.Type == packets.Publish {
			t.Error("a PUBLISH with the id of a delivery left the delivery alone")
		}
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		for _, v := range []byte{4, 5} {
			bob := s.user("bob")
			pk := connectPacket(v, bob, "phone", false)
			if v == 5 {
				pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
			}
			p, _ := connect(t, s.addr, pk)
			p.subscribe(9, "inbox/"+bob)
			p.Send(publishPacket(1, 1, "inbox/"+bob, "x")) // its own copy has id 1 too
			p.Expect(packets.Puback)
			if d := p.Expect(packets.Publish); d.PacketID != 1 {
				t.Errorf("delivered with id %d", d.PacketID)
			}
			if code := p.subscribe(1, "signal/"+bob); code != 0 {
				t.Errorf("SUBSCRIBE with the id of a delivery: %#x", code)
			}
			p.Send(publishPacket(1, 1, "inbox/"+bob, "y"))
			p.Expect(packets.Puback)
			p.Expect(packets.Publish)
			_ = p.Net.Close()
			p, _ = connect(t, s.addr, pk)
			for _, body := range []string{"x", "y"} { // neither was acknowledged
				if d := p.Expect(packets.Publish); !strings.Contains(string(d.Payload), `"body":"`+body+`"`) {
					t.Errorf("received %s, want %s", d.Payload, body)
				}
			}
		}
	})
}

// 9. Each client has a channel of 8,192 pointers.
func TestMochiWriteQueue(t *testing.T) {
	t.Parallel()
	if n := mqtt.NewDefaultServerCapabilities().MaximumClientWritesPending; n != 8192 {
		t.Errorf("bare: %d, want 8192", n)
	}
	if n := hooks.Capabilities(hooks.Limits{}).MaximumClientWritesPending; n > 128 {
		t.Errorf("ours: %d", n)
	}
	// Deliveries do not use it: none is dropped when they are many.
	s := newPostbox(t, slog.DiscardHandler)
	alice, bob := s.user("alice"), s.user("bob")
	receiver, _ := connect(t, s.addr, connectPacket(5, bob, "phone", true))
	receiver.subscribe(1, "inbox/"+bob)
	sender, _ := connect(t, s.addr, connectPacket(4, alice, "phone", true))
	const n = 500
	for id := range uint16(n) {
		sender.Send(publishPacket(id+1, 1, "inbox/"+bob, "x"))
	}
	for range n {
		sender.Expect(packets.Puback)
	}
	for i := range n { // it has read nothing until now
		if got := receiver.Expect(packets.Publish); int(got.PacketID) != i+1 {
			t.Fatalf("delivery %d has id %d", i+1, got.PacketID)
		}
	}
}

// 11. Acknowledgements inherit the publish's user properties, and have reason 1.
func TestMochiAckProperties(t *testing.T) {
	t.Parallel()
	pk := publishPacket(1, 1, "a", "x")
	pk.Properties.User = []packets.UserProperty{{Key: "mine", Val: "1"}}
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	p.Send(pk)
	if ack := p.Expect(packets.Puback); ack.ReasonCode != 1 || len(ack.Properties.User) != 1 {
		t.Errorf("bare: PUBACK %#x with %v", ack.ReasonCode, ack.Properties.User)
	}
	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	p, _ = connect(t, s.addr, connectPacket(5, alice, "phone", true))
	for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
		pk.TopicName, pk.FixedHeader.Qos, pk.PacketID = "inbox/"+alice, qos, uint16(qos)
		p.Send(pk)
		ack := p.Expect(kind)
		for _, u := range ack.Properties.User {
			if u.Key == "mine" {
				t.Error("the publish's own property came back")
			}
		}
		if ack.ReasonCode != 0 {
			t.Errorf("reason %#x", ack.ReasonCode)
		}
	}
}

// 12. QoS 2: a refusal is a PUBACK, a rejected publish is released with 0x92,
// and MaximumQos 1 answers 3.1.1 with the wrong packet.
func TestMochiQoS2(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		var refusal error
		b := newBare(t, nil, &probe{authenticates: true, publish: func(pk packets.Packet) (packets.Packet, error) { return pk, refusal }})
		p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
		refusal = packets.ErrNotAuthorized
		p.Send(publishPacket(1, 2, "a", "x"))
		if ack := p.Expect(packets.Puback); ack.ReasonCode != 0x87 {
			t.Errorf("PUBACK %#x", ack.ReasonCode)
		}
		refusal = packets.ErrRejectPacket
		p.Send(publishPacket(2, 2, "a", "x"))
		p.Quiet()
		p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 2})
		if comp := p.Expect(packets.Pubcomp); comp.ReasonCode != 0x92 {
			t.Errorf("PUBCOMP %#x, want 0x92", comp.ReasonCode)
		}
		one := newBare(t, func(o *mqtt.Options) { o.Capabilities.MaximumQos = 1 })
		p, _ = connect(t, one.addr, connectPacket(4, "alice", "alice", true))
		p.Send(publishPacket(3, 2, "a", "x"))
		p.Expect(packets.Puback)
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		alice := s.user("alice")
		for _, v := range []byte{4, 5} {
			p, ack := connect(t, s.addr, connectPacket(v, alice, "phone", true))
			if ack.Properties.MaximumQosFlag {
				t.Error("a maximum QoS is announced")
			}
			for id, topic := range map[uint16]string{1: "nowhere", 2: "inbox/" + alice} {
				p.Send(publishPacket(id, 2, topic, "x"))
				refused := p.Expect(packets.Pubrec).ReasonCode >= 0x80
				if want := v == 5 && topic == "nowhere"; refused != want {
					t.Errorf("version %d, %s: refused %v", v, topic, refused)
				}
				p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: id})
				if comp := p.Expect(packets.Pubcomp); comp.ReasonCode != 0 {
					t.Errorf("version %d: PUBCOMP %#x", v, comp.ReasonCode)
				}
			}
		}
	})
}
