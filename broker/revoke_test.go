package broker_test

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// A revoked device is ended within a second and begins anew when it returns; the
// user's other devices, and other users' of the same name, notice nothing. A
// block is in force as soon, on connections that are there.
func TestRevokeAndBlock(t *testing.T) {
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
