package broker_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// status asks the private address.
func (w *world) status(t testing.TB, path string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + w.at.Private + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// While PostgreSQL is away nothing is acknowledged, everything lives, a CONNECT
// is told "later"; and all flows again by itself when it is back.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	receiver := w.connect(t, durable(5, bob, "phone"))
	receiver.listen(bob)
	senders := map[byte]*wire{}
	for _, v := range []byte{4, 5} {
		senders[v] = w.connect(t, durable(v, alice, fmt.Sprint(v)))
		senders[v].say("inbox/"+bob, "before")
		receiver.receive()
	}
	if status, _ := w.status(t, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz says %d", status)
	}

	back := w.databaseAway()
	for _, v := range []byte{4, 5} {
		for id := uint16(100); id < 110; id++ {
			senders[v].publish(publication{id: id, qos: 1, topic: "inbox/" + bob, body: fmt.Sprint(v, id)})
		}
		senders[v].Quiet()
	}
	receiver.Quiet()
	for v, want := range map[byte]byte{3: 3, 4: 3, 5: 0x88} {
		for name, l := range map[string]login{
			"right": {user: alice, id: "other"}, "wrong password": {user: alice, id: "other", password: "wrong"},
			"no such user": {user: "nobody", id: "other"},
		} {
			l.version = v
			if _, ack := w.login(t, l); ack.ReasonCode != want {
				t.Errorf("%s, version %d: CONNACK %#x, want %#x", name, v, ack.ReasonCode, want)
			}
		}
	}
	if status, body := w.status(t, "/readyz"); status != http.StatusServiceUnavailable || strings.Contains(body, "postgres") {
		t.Errorf("/readyz says %d %q", status, body)
	}
	await(t, "the reason", func() bool {
		_, body := w.status(t, "/readyz")
		return strings.HasPrefix(body, "the database has been away for ")
	})
	if status, body := w.status(t, "/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz says %d %q", status, body)
	}

	back()
	for _, v := range []byte{4, 5} {
		for id := uint16(100); id < 110; id++ {
			if ack := senders[v].Expect(packets.Puback); ack.PacketID != id || ack.ReasonCode != 0 {
				t.Errorf("acknowledged %d with %#x, want %d", ack.PacketID, ack.ReasonCode, id)
			}
			if n := w.stored(alice, fmt.Sprint(v, id)); n != 1 {
				t.Errorf("%d of version %d: stored %d times", id, v, n)
			}
		}
	}
	for n := int64(3); n <= 22; n++ {
		if _, e := receiver.receive(); e.InboxSeq != n {
			t.Errorf("received entry %d, want %d", e.InboxSeq, n)
		}
	}
	await(t, "readiness", func() bool { status, _ := w.status(t, "/readyz"); return status == http.StatusOK })
	w.connect(t, login{user: alice, id: "other"}).say("inbox/"+bob, "after")
}

// Past the bound connections are closed: their clients then try elsewhere.
func TestDatabaseAwayForTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.OutageTimeout = time.Second; w.config.Limits.Inflight = 4 })
	alice := w.user("alice")
	idle := w.connect(t, durable(5, alice, "idle"))
	five, three := w.connect(t, durable(5, alice, "five")), w.connect(t, durable(4, alice, "three"))
	back := w.databaseAway()
	for id := uint16(1); id <= 20; id++ {
		if id <= 4 {
			five.publish(publication{id: id, qos: 1, topic: "inbox/" + alice, body: "x"})
		}
		three.publish(publication{id: id, qos: 1, topic: "inbox/" + alice, body: "x"})
	}
	for name, c := range map[string]*wire{"idle": idle, "5": five, "3.1.1": three} {
		if reason := c.Ended(); c.Version == 5 && reason != packets.ErrServerBusy.Code {
			t.Errorf("%s: ended with %#x, want 0x89", name, reason)
		}
	}
	back()
	// What was taken in is stored; the device's return waits for it.
	c := w.connect(t, durable(5, alice, "five"))
	c.publish(publication{id: 4, qos: 1, dup: true, topic: "inbox/" + alice, body: "x"})
	if ack := c.Expect(packets.Puback); properties(ack)["duplicate"] != "true" {
		t.Errorf("the re-send is answered with %v", properties(ack))
	}
}

// A subscription that cannot be kept is not granted.
func TestSubscribeWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	for v, reason := range map[byte]byte{4: 0, 5: packets.ErrServerBusy.Code} {
		c := w.connect(t, durable(v, alice, "phone"))
		back := w.databaseAway()
		c.ask(packets.Properties{}, packets.Subscription{Filter: "inbox/" + alice, Qos: 1})
		for {
			pk, err := c.Next()
			if err != nil {
				break
			}
			switch pk.FixedHeader.Type {
			case packets.Suback:
				t.Errorf("version %d: granted %#x", v, pk.ReasonCodes)
			case packets.Disconnect:
				if pk.ReasonCode != reason {
					t.Errorf("ended with %#x, want %#x", pk.ReasonCode, reason)
				}
			}
		}
		back()
		await(t, "readiness", func() bool { status, _ := w.status(t, "/readyz"); return status == http.StatusOK })
	}
}

// A server that cannot flush ends in time all the same, whatever its clients
// are waiting for.
func TestShutdownWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.Inflight = 2 })
	alice := w.user("alice")
	three, five := w.connect(t, login{user: alice, id: "three"}), w.connect(t, login{version: 5, user: alice, id: "five"})
	back := w.databaseAway()
	for id := uint16(1); id <= 10; id++ {
		three.publish(publication{id: id, qos: 1, topic: "inbox/" + alice, body: "x"})
	}
	five.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "x"})
	five.Quiet()
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Second)
	defer cancel()
	began := time.Now()
	if err := w.server.Shutdown(ctx); err != nil {
		t.Errorf("what was not taken was not acknowledged either: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if reason := five.Ended(); reason != packets.ErrServerShuttingDown.Code {
		t.Errorf("ended with %#x, want 0x8b", reason)
	}
	three.Ended()
	back()
	w.start()
}
