package broker_test

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// A revoked device is ended within a second and begins anew when it returns; the
// user's other devices, and other users' of the same name, notice nothing.
func TestRevoke(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		phone := w.connect(t, durable(v, alice, "phone"))
		laptop := w.connect(t, durable(v, alice, "laptop"))
		other := w.connect(t, durable(v, bob, "phone"))
		u, err := w.store.UserByName(t.Context(), postbox.User(alice))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := w.store.RevokeDevice(t.Context(), u.ID, "phone"); err != nil {
			t.Fatal(err)
		}
		if reason := phone.Ended(); v == 5 && reason != packets.ErrAdministrativeAction.Code {
			t.Errorf("ended with %#x, want 0x98", reason)
		}
		// A second; the machine may be busy with other tests.
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took effect after %v", took)
		}
		laptop.Quiet()
		other.Quiet()
		_, ack := w.login(t, durable(v, alice, "phone"))
		if ack.ReasonCode != 0 || ack.SessionPresent {
			t.Errorf("then CONNACK %#x, session present %v", ack.ReasonCode, ack.SessionPresent)
		}
	})
}

// A block is in force within a second, on a connection that has written before;
// and who has written may be seen by the one they have written to, until then.
func TestBlock(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		ids := map[string]postbox.UserID{}
		for _, name := range []string{alice, bob} {
			u, err := w.store.UserByName(t.Context(), postbox.User(name))
			if err != nil {
				t.Fatal(err)
			}
			ids[name] = u.ID
		}
		sees := func(user, other string) bool {
			t.Helper()
			got, err := w.store.Visible(t.Context(), ids[user], []postbox.User{postbox.User(other)})
			if err != nil {
				t.Fatal(err)
			}
			return len(got) == 1
		}
		c := w.connect(t, login{version: v, user: bob, id: "phone"})
		c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "hello"})
		if ack := c.Expect(packets.Puback); ack.ReasonCode != 0 {
			t.Fatalf("acknowledged with %#x", ack.ReasonCode)
		}
		if !sees(alice, bob) || sees(bob, alice) {
			t.Error("who was written to may see who wrote, and not the other way")
		}
		if err := w.store.SetBlock(t.Context(), ids[alice], postbox.User(bob), true); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for n := uint16(2); w.stored(bob, "again") == int64(n)-2; n++ {
			if time.Since(began) > 3*time.Second { // a second; the machine may be busy with other tests
				t.Fatal("the block is not in force")
			}
			c.publish(publication{id: n, qos: 1, topic: "inbox/" + alice, body: "again"})
			if ack := c.Expect(packets.Puback); v == 5 && ack.ReasonCode != 0 {
				if ack.ReasonCode != packets.ErrNotAuthorized.Code {
					t.Errorf("refused with %#x, want 0x87", ack.ReasonCode)
				}
				break
			}
		}
		if err := w.store.SetBlock(t.Context(), ids[bob], postbox.User(alice), true); err != nil {
			t.Fatal(err)
		}
		if sees(alice, bob) {
			t.Error("who is blocked sees who blocks")
		}
	})
}
