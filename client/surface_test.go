package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"postbox"
	"postbox/client"
)

func TestAMessageReachesBothInboxes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := dial(t, w.as("alice")), dial(t, w.as("bob"))
	for _, body := range [][]byte{[]byte("hello, 世界"), {}, {0xff, 0xfe, 0}, []byte("null \x00 and \u2028"), bytes.Repeat([]byte("x"), 64<<10)} {
		r, err := alice.Send(bounded(t), "bob", body)
		if err != nil {
			t.Fatal(err)
		}
		own, theirs := receive(t, alice), receive(t, bob)
		if own.InboxSeq != r.InboxSeq || own.ID != r.ID || own.Seq != r.Seq || own.Key != r.Key || !own.SentAt.Equal(r.SentAt) {
			t.Errorf("the receipt %+v is not of the copy %+v", r, own.Envelope)
		}
		if theirs.ID != r.ID || theirs.Seq != r.Seq || theirs.From != "alice" || theirs.To != "bob" || theirs.Key != "" {
			t.Errorf("bob received %+v for %+v", theirs.Envelope, r)
		}
		if !bytes.Equal(own.Body, body) || !bytes.Equal(theirs.Body, body) {
			t.Errorf("the body of %d bytes has changed", len(body))
		}
		own.Ack()
		theirs.Ack()
	}
}

func TestAMessageToOneselfIsOneEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, w.as("alice"))
	for i := range 2 {
		r, err := alice.Send(bounded(t), "alice", []byte(fmt.Sprint("note ", i)))
		if err != nil {
			t.Fatal(err)
		}
		d := receive(t, alice)
		if d.InboxSeq != r.InboxSeq || string(d.Body) != fmt.Sprint("note ", i) {
			t.Errorf("received %+v for %+v", d.Envelope, r)
		}
		d.Ack()
	}
}

func TestTheServersRefusalsComeBackAsErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, w.as("alice"))
	if _, err := alice.Send(bounded(t), "nobody-has-this-name", nil); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("to nobody: %v, want ErrNotFound", err)
	}
	r, err := alice.Send(bounded(t), "bob", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Send(bounded(t), "bob", []byte("two"), client.WithKey(r.Key)); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("another body under the same key: %v, want ErrConflict", err)
	}
	again, err := alice.Send(bounded(t), "bob", []byte("one"), client.WithKey(r.Key))
	if r.Duplicate = true; err != nil || again != r {
		t.Errorf("the same again: %+v, %v, want %+v", again, err, r)
	}
	o := w.as("alice")
	o.Password = "wrong"
	if c, err := client.Dial(bounded(t), o); !errors.Is(err, postbox.ErrUnauthenticated) {
		t.Errorf("Dial with a wrong password = %v, %v", c, err)
	}
}

func TestADeviceThatWasAwayCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.as("bob")
	bob, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, bob)
	sender := w.as("alice")
	sender.SendOnly = true
	alice := dial(t, sender)
	const n = 300
	for i := range n {
		if _, err := alice.Send(bounded(t), "bob", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	bob = dial(t, o)
	var open client.Delivery
	for i := range n {
		open = receive(t, bob)
		if bodyOf(open) != fmt.Sprint(i) {
			t.Fatalf("entry %d is %q", i, bodyOf(open))
		}
		if i < n-1 {
			open.Ack()
		}
	}
	closeNow(t, bob)
	// The server may save a cursor late: then more comes again, in order, and
	// never less.
	bob = dial(t, o)
	d := receive(t, bob)
	for last := d.InboxSeq - 1; ; d = receive(t, bob) {
		if d.InboxSeq != last+1 || d.InboxSeq > open.InboxSeq {
			t.Fatalf("received number %d behind %d; number %d was not acknowledged", d.InboxSeq, last, open.InboxSeq)
		}
		if last = d.InboxSeq; last == open.InboxSeq {
			break
		}
		d.Ack()
	}
	if d.ID != open.ID {
		t.Errorf("received %q, want the entry that was not acknowledged", bodyOf(d))
	}
}

// The network fails again and again between the clients and the server: each
// message is stored once, and each entry received once and in order.
func TestNothingIsLostOrDoubledOverCuts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const senders, each = 5, 40
	net := newCutter(t, w.url)
	from, to := w.as("alice"), w.as("bob")
	from.URL, to.URL, from.SendOnly = net.url, net.url, true
	alice, bob := dial(t, from), dial(t, to)
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for i := range each {
				if _, err := alice.Send(bounded(t), "bob", []byte(fmt.Sprint(s, " ", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var last postbox.InboxSeq
	next := make([]int, senders)
	cuts := 0
	for n := range senders * each {
		d := receive(t, bob)
		var s, i int
		if _, err := fmt.Sscan(string(d.Body), &s, &i); err != nil {
			t.Fatalf("received %q: %v", bodyOf(d), err)
		}
		if next[s] != i || last != 0 && d.InboxSeq != last+1 {
			t.Fatalf("sender %d: message %d with number %d, want message %d behind number %d", s, i, d.InboxSeq, next[s], last)
		}
		next[s], last = i+1, d.InboxSeq
		d.Ack()
		if n%25 == 24 {
			cuts += net.cut()
		}
	}
	sending.Wait()
	if cuts < 8 {
		t.Errorf("only %d connections were cut", cuts)
	}
	// Nothing comes behind: a message stored twice would.
	if _, err := alice.Send(bounded(t), "bob", []byte("the end")); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, bob); string(d.Body) != "the end" {
		t.Errorf("received %q behind the last message", bodyOf(d))
	}
}

func TestClientsSurviveARestartOfTheServer(t *testing.T) {
	t.Parallel()
	w := newInside(t)
	alice, bob := dial(t, w.as("alice")), dial(t, w.as("bob"))
	send := func(body string) {
		t.Helper()
		if _, err := alice.Send(bounded(t), "bob", []byte(body)); err != nil {
			t.Error(err)
		}
	}
	send("before")
	open := receive(t, bob)
	w.stop(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		send("meanwhile")
	}()
	w.start(t, strings.TrimPrefix(w.url, "tcp://"))
	<-done
	send("after")
	open.Ack()
	if got := receiveBodies(t, bob, 2); !slices.Equal(got, []string{"meanwhile", "after"}) {
		t.Errorf("received %q", got)
	}
}

func TestOverWebSocket(t *testing.T) {
	t.Parallel()
	w := newInside(t)
	o := w.as("alice")
	o.URL = "ws://" + w.inside.Addresses().HTTP
	alice := dial(t, o)
	if _, err := alice.Send(bounded(t), "bob", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := receiveBodies(t, alice, 1); got[0] != "hello" {
		t.Errorf("received %q", got)
	}
	o.URL += "/nothing-here"
	if _, err := client.Dial(bounded(t), o); err == nil {
		t.Error("Dial to a path that is no MQTT succeeded")
	}
}
