package client_test

import (
	"fmt"
	"slices"
	"testing"

	"postbox"
	"postbox/client"
)

func TestAcknowledgementsGoOutInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	var got []client.Delivery
	for i := range 5 {
		f.from("bob", "alice", fmt.Sprint(i))
		got = append(got, receive(t, c))
	}
	for _, i := range []int{4, 1, 2} {
		got[i].Ack()
	}
	// Nothing may have gone out: the first is missing. A send is answered
	// behind anything that had.
	if _, err := c.Send(bounded(t), "bob", []byte("barrier")); err != nil {
		t.Fatal(err)
	}
	f.do(func() {
		if len(f.acks["phone"]) != 0 {
			t.Errorf("acknowledged %d before the first entry was", f.acks["phone"])
		}
	})
	got[0].Ack()
	f.eventually("1, 2, 3 acknowledged", func() bool { return len(f.acks["phone"]) >= 3 })
	got[3].Ack()
	got[3].Ack() // twice is once
	f.eventually("all acknowledged", func() bool { return len(f.acks["phone"]) >= 5 })
	f.do(func() {
		if want := []uint16{1, 2, 3, 4, 5}; !slices.Equal(f.acks["phone"], want) {
			t.Errorf("acknowledged %d, want %d", f.acks["phone"], want)
		}
	})
}

// What the program has once is not given to it again after a cut, and its
// acknowledgement from before the cut still counts.
func TestEachEntryArrivesOnceAcrossCuts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	var got []client.Delivery
	for i := range 6 {
		f.from("bob", "alice", fmt.Sprint(i))
		got = append(got, receive(t, c))
	}
	got[0].Ack()
	f.eventually("the first acknowledged", func() bool { return len(f.acks["phone"]) == 1 })
	got[2].Ack() // waits for the second
	f.cut()
	got[1].Ack() // while disconnected, or right after
	f.from("bob", "alice", "6")
	if d := receive(t, c); string(d.Body) != "6" || d.InboxSeq != 7 {
		t.Fatalf("received %q at %d, want the new entry", d.Body, d.InboxSeq)
	}
	f.eventually("2 and 3 acknowledged on the new connection", func() bool { return f.sessions["phone"].cursor == 3 })
	for _, d := range got[3:] {
		d.Ack()
	}
	f.eventually("up to 6 acknowledged", func() bool { return f.sessions["phone"].cursor == 6 })
}

// A program that ends without acknowledging gets the entry again.
func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	first, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		f.from("bob", "alice", fmt.Sprint(i))
	}
	receive(t, first).Ack()
	receive(t, first)
	closeNow(t, first)
	second := dial(t, o)
	if got := receiveBodies(t, second, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("received %q, want what was not acknowledged", got)
	}
}

// A session that the server has lost must not lose an entry.
func TestALostSessionIsContinued(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	for i := range 4 {
		f.from("bob", "alice", fmt.Sprint(i))
	}
	receiveBodies(t, c, 2)
	third := receive(t, c)
	f.eventually("two acknowledged", func() bool { return f.sessions["phone"].cursor == 2 })
	f.do(func() {
		delete(f.sessions, "phone")
		for i := 4; i < 8; i++ {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte(fmt.Sprint(i))})
		}
	})
	f.cut()
	if got := receiveBodies(t, c, 5); !slices.Equal(got, []string{"3", "4", "5", "6", "7"}) {
		t.Errorf("received %q, want all that came meanwhile", got)
	}
	third.Ack()
	f.eventually("all acknowledged", func() bool { return f.sessions["phone"].cursor == 8 })
}

func TestAGapIsHandedOut(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	first, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, first)
	f.do(func() {
		for i := range 10 {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte(fmt.Sprint(i))})
		}
		f.expired["alice"] = 7
	})
	c := dial(t, o)
	gap := receive(t, c)
	if gap.Type != client.TypeGap || gap.Code != postbox.CodeExpired || gap.After != 0 || gap.Next != 8 || gap.Position() != (postbox.Position{Epoch: "k3f9", Seq: 7}) {
		t.Errorf("received %+v, want the gap from 0 to 8", gap.Envelope)
	}
	gap.Ack()
	if got := receiveBodies(t, c, 3); !slices.Equal(got, []string{"7", "8", "9"}) {
		t.Errorf("received %q behind the gap", got)
	}
}

// A long backlog passes through the server's window at the program's pace.
func TestABacklogArrivesInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	o.Buffer = 4 // smaller than the window: the connection is read more slowly
	first, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, first)
	const n = 1000
	f.do(func() {
		for i := range n {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte(fmt.Sprint(i))})
		}
	})
	c := dial(t, o)
	for i := range n {
		d := receive(t, c)
		if string(d.Body) != fmt.Sprint(i) || int(d.InboxSeq) != i+1 {
			t.Fatalf("entry %d is %q with number %d", i, d.Body, d.InboxSeq)
		}
		d.Ack()
		if i%100 == 99 {
			f.cut()
		}
	}
	f.eventually("all acknowledged", func() bool { return f.sessions["phone"].cursor == n })
}

func TestWhatCannotBeReadIsDroppedAndAcknowledged(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	f.do(func() {
		for _, p := range f.conns {
			f.write(p, 1, []byte("no JSON"))
		}
	})
	f.eventually("it is acknowledged", func() bool { return len(f.acks["phone"]) == 1 })
	f.from("bob", "alice", "hello")
	if got := receiveBodies(t, c, 1); got[0] != "hello" {
		t.Errorf("received %q", got)
	}
}
