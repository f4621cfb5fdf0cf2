package client_test

import (
	"errors"
	"testing"

	"postbox"
	"postbox/client"
)

func TestSignalsComeToWhoIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.as("bob")
	o.Signals = true
	alice, bob := dial(t, w.as("alice")), dial(t, o)
	for _, body := range []string{"typing", "\xff\x00"} {
		if err := alice.Signal(bounded(t), client.With("bob"), []byte(body)); err != nil {
			t.Fatal(err)
		}
		s, err := bob.ReceiveSignal(bounded(t))
		if err != nil || s.Type != client.TypeSignal || s.From != "alice" || s.To != "bob" || string(s.Body) != body {
			t.Errorf("received %+v, %v", s, err)
		}
	}
	if err := alice.Signal(bounded(t), client.With("nobody-has-this-name"), nil); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("to nobody: %v, want ErrNotFound", err)
	}
	if err := alice.Signal(bounded(t), client.With("bob"), make([]byte, postbox.MaxSignal+1)); !errors.Is(err, postbox.ErrTooLarge) {
		t.Errorf("over the limit: %v, want ErrTooLarge", err)
	}
	if _, err := alice.ReceiveSignal(bounded(t)); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("without Options.Signals: %v, want ErrInvalid", err)
	}
	// Who has written to bob may be seen by him, so he is told that a message has
	// arrived there.
	must(alice.Send(bounded(t), "bob", []byte("hello")))(t)
	r := must(bob.Send(bounded(t), "alice", []byte("hello, alice")))(t)
	receiveBodies(t, alice, 2)
	for {
		s, err := bob.ReceiveSignal(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.Type == client.TypeDelivered && s.From == "alice" && s.To == "bob" && s.Seq >= r.Seq {
			return
		}
	}
}

// Presence is told at once, at every change, and again after a reconnect.
func TestPresenceIsWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	net := newCutter(t, w.url)
	o := w.as("alice")
	o.URL, o.Cursor = net.url, cursorFile(t) // so no session remembers whom she watches
	alice, bob := dial(t, o), dial(t, sendOnly(w.as("bob")))
	must(bob.Send(bounded(t), "alice", []byte("you may see me")))(t)
	receiveBodies(t, alice, 1)
	if err := alice.WatchPresence(bounded(t), "bob"); err != nil {
		t.Fatal(err)
	}
	// await returns when bob is told to be as he should.
	await := func(online bool) {
		t.Helper()
		for {
			p, err := alice.ReceivePresence(bounded(t))
			if err != nil {
				t.Fatalf("bob is never told to be online: %t: %v", online, err)
			}
			if p.User == "bob" && p.Online == online && p.LastSeen.IsZero() == online {
				return
			}
		}
	}
	await(true)
	net.cut()
	await(true)
	closeNow(t, bob)
	await(false)
	if all := must(alice.Presence(bounded(t), "bob", "nobody-has-this-name"))(t); len(all) != 1 || all[0].User != "bob" || all[0].Online {
		t.Errorf("presence is %+v", all)
	}
	if err := alice.WatchPresence(bounded(t), "Bob"); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("a name that nobody can have: %v, want ErrInvalid", err)
	}
	if err := alice.UnwatchPresence(bounded(t), "bob"); err != nil {
		t.Fatal(err)
	}
	net.cut()
	must(alice.Me(bounded(t)))(t) // she is back
	if err := alice.WatchPresence(bounded(t), "alice"); err != nil {
		t.Fatal(err)
	}
	if p, err := alice.ReceivePresence(bounded(t)); err != nil || p.User != "alice" {
		t.Errorf("told of %+v, %v, of whom she does not ask any more", p, err)
	}
	if err := alice.WatchPresence(bounded(t)); err != nil {
		t.Errorf("all: %v", err)
	}
}
