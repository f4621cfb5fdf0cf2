package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
	"postbox/client"
)

func TestSendSurvivesCuts(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]fault{
		"before the commit":             {cutBefore: true},
		"between commit and its answer": {cutAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.fault = once(bad)
			o := options(f.url)
			o.SendOnly = true
			c := dial(t, o)
			const sends = 10
			var wg sync.WaitGroup
			for i := range sends {
				wg.Go(func() {
					body := fmt.Sprint("message ", i)
					r, err := c.Send(bounded(t), "bob", []byte(body), client.WithKey(fmt.Sprint("k-", i)))
					if err != nil || r.InboxSeq == 0 || r.Seq == 0 || r.ID == (postbox.MessageID{}) || r.Key != fmt.Sprint("k-", i) {
						t.Errorf("Send = %+v, %v", r, err)
					}
				})
			}
			wg.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if n := len(f.inboxes["bob"]); n != sends {
				t.Errorf("%d messages stored for %d sends", n, sends)
			}
			if f.connects <= sends {
				t.Errorf("%d connections for %d cuts", f.connects, sends)
			}
		})
	}
}

// The copy of a stored message may come behind its re-send, which is a
// duplicate to the server.
func TestAResendOfWhatIsStoredIsConfirmedByTheFirst(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.hold = true
	f.fault = func(p *packets.PublishPacket) fault {
		if f.seen["k-1"] == 1 {
			return fault{cutAfter: true}
		}
		f.hold = false
		return fault{}
	}
	c := dial(t, options(f.url))
	r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey("k-1"))
	if err != nil || r.InboxSeq != 1 {
		t.Errorf("Send = %+v, %v", r, err)
	}
	f.do(func() {
		if f.seen["k-1"] != 2 || len(f.inboxes["bob"]) != 1 {
			t.Errorf("sent %d times and stored %d times, want 2 and 1", f.seen["k-1"], len(f.inboxes["bob"]))
		}
	})
}

func TestSendsAreStoredInOrderAcrossCuts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = once(fault{cutAfter: true})
	o := options(f.url)
	o.SendOnly = true
	c := dial(t, o)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprint(i))
		if _, err := c.Send(bounded(t), "bob", []byte(want[i])); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []string
	for _, m := range f.inboxes["bob"] {
		got = append(got, string(m.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
}

// refuseStrangers makes carol accept nothing.
func refuseStrangers(f *fake) {
	f.fault = func(p *packets.PublishPacket) fault {
		if strings.HasPrefix(p.TopicName, "inbox/carol/") || bytes.Contains(p.Payload, []byte(`"to":"carol"`)) {
			return fault{refuse: postbox.Errorf(postbox.CodeForbidden, "carol does not accept messages from you")}
		}
		return fault{}
	}
}

func TestSendReturnsTheServersRefusal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	refuseStrangers(f)
	c := dial(t, options(f.url))
	r, err := c.Send(bounded(t), "carol", []byte("hello"), client.WithKey("k-7"))
	if !errors.Is(err, postbox.ErrForbidden) || !strings.Contains(err.Error(), "carol does not accept") || r.Key != "k-7" {
		t.Errorf("Send = %+v, %v, want ErrForbidden with the server's sentence", r, err)
	}
	// The refusal itself is no entry, and the client goes on.
	if _, err := c.Send(bounded(t), "bob", []byte("hello")); err != nil {
		t.Errorf("the next Send: %v", err)
	}
	if got := receiveBodies(t, c, 1); got[0] != "hello" {
		t.Errorf("received %q, want the own copy", got)
	}
}

// A PUBACK says nothing in 3.1.1: without the own copy, a send is not known to
// be stored, whatever Paho's token says.
func TestSendDoesNotTrustAPuback(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	acknowledged := make(chan struct{}, 1)
	f.fault = func(*packets.PublishPacket) fault {
		acknowledged <- struct{}{}
		for _, s := range f.sessions { // the copy is kept back
			s.subscribed = false
		}
		return fault{}
	}
	c := dial(t, options(f.url))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-acknowledged
		time.AfterFunc(50*time.Millisecond, cancel) // long after the PUBACK
	}()
	r, err := c.Send(ctx, "bob", []byte("hello"))
	if !errors.Is(err, context.Canceled) || r.ID != (postbox.MessageID{}) || r.Key == "" {
		t.Fatalf("Send = %+v, %v, want the key and ctx's error", r, err)
	}
	// The program tries again under the same key, once the copy has come.
	f.do(func() {
		f.fault = nil
		for _, s := range f.sessions {
			s.subscribed = true
		}
		for _, p := range f.conns {
			f.deliver(p)
		}
	})
	receive(t, c).Ack()
	again, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey(r.Key))
	if err != nil || again.InboxSeq != 1 {
		t.Errorf("Send under the same key = %+v, %v, want the first one's place", again, err)
	}
	f.do(func() {
		if n := len(f.inboxes["bob"]); n != 1 {
			t.Errorf("stored %d times", n)
		}
	})
}

// Another device's message under the same key is not ours.
func TestACopyOfAnotherMessageConfirmsNothing(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = func(p *packets.PublishPacket) fault {
		f.store(&postbox.Message{From: "alice", To: "bob", Key: "k-1", Device: "laptop", Body: []byte("another")})
		for _, p := range f.conns {
			f.deliver(p)
		}
		return fault{refuse: postbox.Errorf(postbox.CodeConflict, "the idempotency key k-1 was used before")}
	}
	c := dial(t, options(f.url))
	if r, err := c.Send(bounded(t), "bob", []byte("mine"), client.WithKey("k-1")); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("Send = %+v, %v, want ErrConflict", r, err)
	}
}

func TestSendRefusesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	o.SendOnly = true
	c := dial(t, o)
	if _, err := c.Send(bounded(t), "Bob", nil); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("a name that nobody can have: %v", err)
	}
	if _, err := c.Send(bounded(t), "bob", nil, client.WithKey("a/b")); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("a key with a slash: %v", err)
	}
	if _, err := c.Send(bounded(t), "bob", make([]byte, 64<<10+1)); !errors.Is(err, postbox.ErrTooLarge) {
		t.Errorf("a body over the limit: %v", err)
	}
	if _, err := c.Receive(bounded(t)); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("Receive with SendOnly: %v", err)
	}
	f.do(func() {
		if len(f.seen) != 0 {
			t.Errorf("the server has seen %v", f.seen)
		}
	})
}

func TestOneKeyServesOneSendAtATime(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	f.fault = func(*packets.PublishPacket) fault {
		close(arrived)
		f.mu.Unlock()
		<-release
		f.mu.Lock()
		return fault{}
	}
	c := dial(t, options(f.url))
	first := make(chan error)
	go func() {
		_, err := c.Send(bounded(t), "bob", []byte("x"), client.WithKey("k"))
		first <- err
	}()
	<-arrived
	if _, err := c.Send(bounded(t), "bob", []byte("x"), client.WithKey("k")); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("a second Send under the key: %v, want ErrConflict", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the first Send: %v", err)
	}
}
