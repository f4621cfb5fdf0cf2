package broker_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/store"
)

// Shutdown commits and acknowledges what was received, tells everybody, and
// waits for nobody: not for those who do not read, nor for those who have not
// said CONNECT.
func TestShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	five := w.connect(t, durable(5, alice, "five"))
	three := w.connect(t, durable(4, alice, "three"))
	stalled := w.connect(t, login{user: bob, id: "stalled"})
	stalled.listen(bob)
	big := string(make([]byte, 60<<10))
	for range 150 {
		three.say("inbox/"+bob, big)
	}
	silent, half := w.dial(t), w.dial(t)
	half.Write([]byte{0x10})

	release := w.holdCommits()
	for id := uint16(1000); id < 1010; id++ {
		five.publish(publication{id: id, qos: 1, topic: "inbox/" + bob, body: "last"})
	}
	w.awaitBlocked(1)
	five.Quiet() // all of them are in
	began := time.Now()
	time.AfterFunc(200*time.Millisecond, release)
	w.stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	for id := uint16(1000); id < 1010; id++ {
		if ack := five.Expect(packets.Puback); ack.PacketID != id {
			t.Errorf("acknowledged %d, want %d", ack.PacketID, id)
		}
	}
	if bye := five.Expect(packets.Disconnect); bye.ReasonCode != packets.ErrServerShuttingDown.Code {
		t.Errorf("ended with %#x, want 0x8b", bye.ReasonCode)
	}
	if n := w.stored(alice, "last"); n != 10 {
		t.Errorf("stored %d of 10", n)
	}
	for _, c := range []*wire{three, silent, half} {
		c.Ended()
	}
	for _, at := range []string{w.at.MQTT, w.at.HTTP, w.at.Private} {
		if conn, err := net.Dial("tcp", at); err == nil {
			_ = conn.Close()
			t.Errorf("%s still listens", at)
		}
	}
	w.stop() // again
	w.start()
	_, ack := w.login(t, durable(5, alice, "five"))
	if !ack.SessionPresent {
		t.Error("the session is gone")
	}
}

// A server that shuts down says so, for as long as it answers: nobody is to be
// sent to it any more. It is alive all the same.
func TestNotReadyWhileShuttingDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{user: alice, id: "phone"})
	release := w.holdCommits()
	c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "x"})
	w.awaitBlocked(1)
	ended := make(chan struct{})
	go func() { defer close(ended); w.stop() }()
	await(t, "the end of readiness", func() bool { status, _ := w.status(t, "/readyz"); return status != http.StatusOK })
	if status, body := w.status(t, "/readyz"); status != http.StatusServiceUnavailable || body != "the server is shutting down\n" {
		t.Errorf("/readyz says %d %q", status, body)
	}
	if status, body := w.status(t, "/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz says %d %q", status, body)
	}
	release()
	<-ended
	w.start()
}

// A commit that does not end does not keep the server, nor does the server
// leave it behind running.
func TestShutdownWithACommitUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	release := w.holdCommits()
	c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "x"})
	w.awaitBlocked(1)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v, given 0.3 s", took)
	}
	c.Ended()
	release()
	w.start()
}

// One server follows the other at once, as at a restart by a supervisor.
func TestOneServerAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	for n := range 5 {
		w.stop()
		server, err := w.make(t.Context())
		if err != nil {
			t.Errorf("start %d right after the last one's end: %v", n, err)
			w.start()
			continue
		}
		w.server = server
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.at = server.Addresses()
		w.connect(t, login{user: alice, id: "phone"}).say("inbox/"+alice, "x")
	}
}

// A database has one server at a time; the second changes nothing for the
// first.
func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{user: alice, id: "phone"})
	if second, err := w.make(t.Context()); !errors.Is(err, store.ErrOwned) {
		t.Errorf("a second server: %v, want ErrOwned", err)
		_ = second.Shutdown(t.Context())
	}
	c.say("inbox/"+alice, "x")
}

// A port that is taken is an error that names the setting, and leaves nothing
// behind.
func TestAddressTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	listen := w.config.Listen
	for setting, address := range map[string]*string{
		"listen.mqtt": &w.config.Listen.MQTT, "listen.http": &w.config.Listen.HTTP, "listen.private": &w.config.Listen.Private,
	} {
		w.config.Listen = listen
		*address = taken.Addr().String()
		server := w.server
		await(t, "the database", func() bool { server, err = w.make(t.Context()); return !errors.Is(err, store.ErrOwned) })
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(t.Context()); err == nil || !strings.HasPrefix(err.Error(), setting+":") {
			t.Errorf("%s: %v", setting, err)
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: shutdown: %v", setting, err)
		}
	}
	w.config.Listen = listen
	w.start()
}
