package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Session present says whether the server still knows the device, also after a
// restart.
func TestSessionPresent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		keep := durable(v, alice, "phone")
		fresh := keep
		fresh.clean = true
		for i, step := range []struct {
			what    string
			l       login
			restart bool
			present bool
		}{
			{"first", keep, false, false},
			{"return", keep, false, true},
			{"after a restart", keep, true, true},
			{"clean start", fresh, false, false},
		} {
			if step.restart {
				w.restart()
			}
			c, ack := w.login(t, step.l)
			if ack.ReasonCode != 0 || ack.SessionPresent != step.present {
				t.Errorf("%d %s: code %#x, session present %v", i, step.what, ack.ReasonCode, ack.SessionPresent)
			}
			c.Leave()
		}
		c, ack := w.login(t, keep)
		// In 5 the clean start began a session; in 3 it had none.
		if want := v == 5; ack.SessionPresent != want {
			t.Errorf("after a clean start: session present %v, want %v", ack.SessionPresent, want)
		}
		c.Leave()
	})
}

// Session expiry 0 and clean session 1 end the session with the connection:
// no cursor, no subscription is left.
func TestSessionWithoutLife(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		l := login{version: v, user: alice, id: "phone", clean: v < 5}
		for _, end := range []func(*wire){(*wire).Leave, (*wire).Vanish, func(*wire) {}} {
			c, ack := w.login(t, l)
			if ack.SessionPresent {
				t.Error("session present")
			}
			c.Quiet() // nothing is left over
			c.listen(alice)
			end(c)
			w.fill(alice, 1)
		}
		if n := w.number(`SELECT count(*) FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id WHERE u.name = $1`, alice); n != 0 {
			t.Errorf("%d sessions kept", n)
		}
	})
}

// A session that is resumed without asking for a life ends with the connection.
func TestSessionGivenUp(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	keep := durable(5, alice, "phone")
	c := w.connect(t, keep)
	c.listen(alice)
	c.Leave()
	w.fill(alice, 1)
	c, ack := w.login(t, login{version: 5, user: alice, id: "phone"})
	if !ack.SessionPresent {
		t.Error("the session is gone at once")
	}
	c.entry(1)
	c.Leave()
	if _, ack = w.login(t, keep); ack.SessionPresent {
		t.Error("the session is still there")
	}
}

func TestSessionExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	l := login{version: 5, user: alice, id: "phone", props: expiry(100)}
	w.connect(t, l).Leave()
	w.exec(`UPDATE postbox.devices SET disconnected_at = now() - interval '99 seconds'`)
	c, ack := w.login(t, l)
	if !ack.SessionPresent {
		t.Error("gone before its time")
	}
	// DISCONNECT may change how long it lives.
	c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: expiry(10)})
	c.Ended()
	await(t, "the end of the connection", func() bool {
		return w.number(`SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NOT NULL AND expires_after = 10`) == 1
	})
	w.exec(`UPDATE postbox.devices SET disconnected_at = now() - interval '11 seconds'`)
	if _, ack = w.login(t, l); ack.SessionPresent {
		t.Error("there after its time")
	}
}

// [MQTT-3.14.2-2]: a session that had no life cannot be given one at the end.
func TestDisconnectCannotStartASession(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: expiry(10)})
	if reason := c.Ended(); reason != packets.ErrProtocolViolation.Code {
		t.Errorf("ended with %#x, want 0x82", reason)
	}
}

// What is asked for beyond the limit is bounded, and the client is told.
func TestSessionExpiryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.SessionExpiry = time.Hour })
	alice := w.user("alice")
	for asked, want := range map[uint32]uint32{0xffffffff: 3600, 3601: 3600, 3600: 0, 60: 0} {
		c, ack := w.login(t, login{version: 5, user: alice, id: "phone", props: expiry(asked)})
		if got := ack.Properties.SessionExpiryInterval; got != want {
			t.Errorf("asked for %d: CONNACK says %d, want %d", asked, got, want)
		}
		c.Leave()
		if n := w.number(`SELECT expires_after FROM postbox.devices`); n != min(int64(asked), 3600) {
			t.Errorf("asked for %d: kept for %d seconds", asked, n)
		}
	}
}

// The longest disconnected device of a user is forgotten when there are too
// many; the others stay.
func TestDevicesPerUser(t *testing.T) {
	t.Parallel()
	const limit = 3
	w := newWorld(t, func(w *world) { w.config.Limits.DevicesPerUser = limit })
	alice, bob := w.user("alice"), w.user("bob")
	w.connect(t, durable(4, bob, "phone")).Leave()
	for n := range limit + 1 {
		w.connect(t, durable(4, alice, fmt.Sprintf("phone%d", n))).Leave()
		await(t, "the end of the connection", func() bool {
			return w.number(`SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NULL`) == 0
		})
	}
	for id, want := range map[string]bool{"phone0": false, "phone1": true, "phone2": true, "phone3": true} {
		if n := w.number(`SELECT count(*) FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id
			WHERE client_id = $1 AND name = $2`, id, alice); (n == 1) != want {
			t.Errorf("%s is kept: %v, want %v", id, n == 1, want)
		}
	}
	if _, ack := w.login(t, durable(4, bob, "phone")); !ack.SessionPresent {
		t.Error("another user's device was forgotten")
	}
}
