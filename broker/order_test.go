package broker_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// warned passes on the messages of all that is logged.
type warned chan string

func (w warned) Enabled(context.Context, slog.Level) bool { return true }
func (w warned) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warned) WithGroup(string) slog.Handler            { return w }
func (w warned) Handle(_ context.Context, r slog.Record) error {
	select {
	case w <- r.Message:
	default:
	}
	return nil
}

// A publish that is dropped, because its connection ends before the database
// can say whether it is a re-send, takes with it all that the connection has
// published after it: the device sends both again, in the order they had.
func TestDroppedPublishIsNotOvertaken(t *testing.T) {
	t.Parallel()
	log := make(warned, 1000)
	w := newWorld(t, func(w *world) { w.log = log })
	alice, bob := w.user("alice"), w.user("bob")
	l := durable(4, alice, "phone")
	earlier := w.connect(t, l)
	earlier.publish(publication{id: 1, qos: 1, topic: "inbox/" + bob, body: "earlier"})
	earlier.Expect(packets.Puback)
	earlier.Leave()
	c := w.connect(t, l)
	c.listen(alice)
	desk := w.connect(t, login{user: bob, id: "desk", clean: true})
	// What was published under the id before cannot be read now: the number is no QoS.
	w.exec(`UPDATE postbox.messages SET qos = -1`)
	first := publication{id: 1, qos: 1, dup: true, topic: "inbox/" + bob, body: "first"}
	second := publication{id: 2, qos: 1, topic: "inbox/" + bob, body: "second"}
	c.publish(first, second)
	for limit := time.After(patience); ; {
		select {
		case m := <-log:
			if m != "reading the publishes of a device failed" {
				continue
			}
		case <-limit:
			t.Fatal("the first publish does not wait for the database")
		}
		break
	}
	c.Vanish()
	desk.say("inbox/"+alice, "a delivery, by which the server sees that the line is cut")
	await(t, "the end of the connection", func() bool {
		return w.number(`SELECT count(*) FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id
			WHERE u.name = $1 AND d.disconnected_at IS NOT NULL`, alice) == 1
	})
	w.exec(`UPDATE postbox.messages SET qos = 1 WHERE qos < 0`)
	next := w.connect(t, l)
	second.dup = true
	next.publish(first, second)
	next.Until(packets.Puback)
	next.Until(packets.Puback)
	var order string
	err := w.db.QueryRow(`SELECT string_agg(convert_from(m.body, 'UTF8'), ' ' ORDER BY m.seq)
		FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = $1 AND m.seq > 1`, alice).Scan(&order)
	if err != nil || order != "first second" {
		t.Errorf("stored in the order %q (%v)", order, err)
	}
}
