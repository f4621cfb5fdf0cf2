package client_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
	"postbox/client"
)

// A bot answers each message before it acknowledges it, with more of them waiting
// than the server sends at once: the own copies of its answers are behind all
// those.
func TestAnswersDoNotWaitForAcknowledgements(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := dial(t, sendOnly(w.as("alice"))), dial(t, w.as("bob"))
	const n = 100
	for i := range n {
		must(alice.Send(bounded(t), "bob", []byte(fmt.Sprint(i))))(t)
	}
	var open []client.Delivery
	for range 64 {
		open = append(open, receive(t, bob))
	}
	for _, opts := range [][]client.SendOption{nil, {client.WithKey("answer-" + open[0].ID.String())}} {
		r, err := bob.Send(bounded(t), "alice", []byte("an answer"), opts...)
		if err != nil || r.InboxSeq <= open[63].InboxSeq {
			t.Errorf("with a full window: %+v, %v", r, err)
		}
	}
	must(bob.Me(bounded(t)))(t)
	for _, d := range open {
		d.Ack()
	}
	if got := receiveBodies(t, bob, n-64+2); !slices.Equal(got[n-64:], []string{"an answer", "an answer"}) {
		t.Errorf("behind all the others came %q", got[n-64:])
	}
}

// Too many requests are no refusal: a message takes the way on which the server
// slows and does not refuse, and anything else waits.
func TestTooManyRequestsAreMadeLater(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	limited := 0
	f.fault = func(p *packets.PublishPacket) fault {
		if bytes.HasPrefix([]byte(p.TopicName), []byte("api/")) && limited < 3 {
			limited++
			return fault{refuse: postbox.Errorf(postbox.CodeRateLimited, "too many requests: send fewer each second")}
		}
		return fault{}
	}
	c := dial(t, options(f.url))
	if r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey("k-1")); err != nil || r.InboxSeq != 1 || r.Duplicate {
		t.Errorf("a message: %+v, %v", r, err)
	}
	f.do(func() {
		if limited != 1 || f.seen["k-1"] != 2 {
			t.Errorf("limited %d times, sent %d times; want 1 and 2: as a request, then plainly", limited, f.seen["k-1"])
		}
	})
	if r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithContentType("text/html")); err != nil || r.InboxSeq != 2 {
		t.Errorf("a message that only a request can carry: %+v, %v", r, err)
	}
	f.do(func() {
		if limited != 3 {
			t.Errorf("limited %d times, want 3", limited)
		}
	})
	if got := receiveBodies(t, c, 2); !slices.Equal(got, []string{"hello", "hello"}) {
		t.Errorf("stored are %q", got)
	}
}

// A reply is QoS 0. One that is lost with its connection is asked for again, and
// is of the message that was stored the first time.
func TestALostReplyIsAskedForAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = once(fault{cutAfter: true})
	c := dial(t, options(f.url))
	r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithContentType("text/html"))
	if err != nil || r.InboxSeq != 1 || r.Duplicate {
		t.Errorf("Send = %+v, %v, want the first place; nobody else can know the key", r, err)
	}
	again, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithContentType("text/html"), client.WithKey(r.Key))
	if err != nil || again.InboxSeq != 1 || !again.Duplicate {
		t.Errorf("sent again: %+v, %v, want the first place as a duplicate", again, err)
	}
	f.do(func() {
		if f.seen[r.Key] != 4 || len(f.inboxes["bob"]) != 1 {
			t.Errorf("sent %d times and stored %d times, want 4 and 1: each Send was cut once", f.seen[r.Key], len(f.inboxes["bob"]))
		}
	})
}

// The reply of a message is dropped, but its own copy comes.
func TestTheOwnCopyStandsForALostReply(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = func(*packets.PublishPacket) fault { return fault{mute: true} }
	c := dial(t, options(f.url))
	if r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey("k-1")); err != nil || r.InboxSeq != 1 {
		t.Errorf("Send = %+v, %v", r, err)
	}
}

// The own copy of a message that was stored long ago comes while the program sends
// it again: it is a duplicate all the same.
func TestAnOldCopyDoesNotHideADuplicate(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.hold = true
	f.store(&postbox.Message{From: "alice", To: "bob", Key: "k-1", Body: []byte("hello")})
	f.fault = func(*packets.PublishPacket) fault {
		f.hold = false
		for _, p := range f.conns {
			f.deliver(p)
		}
		return fault{}
	}
	o := options(f.url)
	o.FromStart = true
	c := dial(t, o)
	if r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey("k-1")); err != nil || r.InboxSeq != 1 || !r.Duplicate {
		t.Errorf("Send = %+v, %v, want the first place as a duplicate", r, err)
	}
}
