package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"postbox"
	"postbox/client"
)

func cursorFile(t testing.TB) client.CursorFile {
	t.Helper()
	return client.CursorFile(filepath.Join(t.TempDir(), "cursor"))
}

func TestACursorFileKeepsTheLastPlace(t *testing.T) {
	t.Parallel()
	f := cursorFile(t)
	if at, err := f.Load(t.Context()); err != nil || at != (postbox.Position{}) {
		t.Errorf("without a file: %v, %v, want no place and no error", at, err)
	}
	for _, at := range []postbox.Position{{Epoch: "k3f9", Seq: 100_000}, {Epoch: "k3f9", Seq: 7}, {Epoch: "m2", Seq: 0}} {
		if err := f.Save(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(t.Context()); err != nil || got != at {
			t.Errorf("saved %v, loaded %v, %v", at, got, err)
		}
	}
	// What a crash in the middle of a save leaves behind is not looked at.
	if err := os.WriteFile(string(f)+".new", []byte("k3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Load(t.Context()); err != nil || got.Epoch != "m2" {
		t.Errorf("beside a torn save: %v, %v", got, err)
	}
	for _, text := range []string{"", "k3f9", "42\n", "k3f9:42\nk3f9:43\n"} {
		if err := os.WriteFile(string(f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if at, err := f.Load(t.Context()); !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("a file with %q: %v, %v, want ErrInvalid", text, at, err)
		}
	}
}

// A program goes on where it stopped, under another device name each time, and
// also if it was ended before anything had come.
func TestAProgramGoesOnUnderAnyDeviceName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, file := dial(t, sendOnly(w.as("alice"))), cursorFile(t)
	must(alice.Send(bounded(t), "bob", []byte("before its time")))(t)
	fresh := func() *client.Client {
		o := w.as("bob")
		o.Cursor = file
		c, err := client.Dial(bounded(t), o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	closeNow(t, fresh()) // sees nothing at all
	sent := 0
	send := func(n int) {
		for range n {
			must(alice.Send(bounded(t), "bob", []byte(fmt.Sprint(sent))))(t)
			sent++
		}
	}
	send(100) // more than a window
	bob := fresh()
	if got := receiveBodies(t, bob, 70); got[0] != "0" || got[69] != "69" {
		t.Errorf("the first program received %q…%q", got[0], got[69])
	}
	open := receive(t, bob) // and is ended before it has done with this one
	later := receive(t, bob)
	later.Ack()
	closeNow(t, bob)
	if at, err := file.Load(t.Context()); err != nil || at.Seq != open.InboxSeq-1 || at.Epoch != open.Epoch {
		t.Errorf("the cursor is %v, %v, want the place before %d", at, err, open.InboxSeq)
	}
	send(1)
	bob = fresh()
	if got := receiveBodies(t, bob, 31); got[0] != "70" || got[30] != "100" {
		t.Errorf("the next program received %q…%q, want from 70 to 100", got[0], got[30])
	}
	closeNow(t, bob)
	// A file that was put back to an older state counts, whatever the server thinks
	// of the device.
	o := w.as("bob")
	o.Cursor = file
	closeNow(t, dial(t, o))
	if err := file.Save(t.Context(), postbox.Position{Epoch: open.Epoch, Seq: open.InboxSeq + 20}); err != nil {
		t.Fatal(err)
	}
	bob = dial(t, o)
	if got := receiveBodies(t, bob, 10); got[0] != "91" {
		t.Errorf("from an older cursor it received %q first, want 91", got[0])
	}
}

// Over cuts of the network, a program with a cursor gets each entry once.
func TestACursorSurvivesCuts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	net := newCutter(t, w.url)
	o := w.as("bob")
	o.URL, o.Cursor = net.url, cursorFile(t)
	alice, bob := dial(t, sendOnly(w.as("alice"))), dial(t, o)
	const n = 120
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range n {
			if _, err := alice.Send(bounded(t), "bob", []byte(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range n {
		d := receive(t, bob)
		if string(d.Body) != fmt.Sprint(i) {
			t.Fatalf("entry %d is %q", i, d.Body)
		}
		d.Ack()
		if i%20 == 10 {
			net.cut()
		}
	}
	sending.Wait()
}

// Two programs share a user: each gets everything, at its own pace, and goes on
// at its own place.
func TestTwoProgramsShareAUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, sendOnly(w.as("alice")))
	quick, slow := w.as("bob"), w.as("bob")
	quick.Cursor, slow.Cursor = cursorFile(t), cursorFile(t)
	one, two := dial(t, quick), dial(t, slow)
	const n = 90 // more than a window
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
		must(alice.Send(bounded(t), "bob", []byte(want[i])))(t)
	}
	if got := receiveBodies(t, one, n); !slices.Equal(got, want) {
		t.Errorf("the quick one received %q", got)
	}
	got := receiveBodies(t, two, 40)
	closeNow(t, one)
	closeNow(t, two)
	must(alice.Send(bounded(t), "bob", []byte("more")))(t)
	one, two = dial(t, quick), dial(t, slow)
	if more := receiveBodies(t, one, 1); more[0] != "more" {
		t.Errorf("the quick one went on with %q", more)
	}
	got = append(got, receiveBodies(t, two, n-40)...)
	if !slices.Equal(got, want) {
		t.Errorf("the slow one received %q", got)
	}
	if more := receiveBodies(t, two, 1); more[0] != "more" {
		t.Errorf("the slow one ended with %q", more)
	}
}

// The program is told of what it cannot have, and goes on behind it.
func TestAProgramIsToldOfAGap(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.do(func() {
		for range 9 {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte("gone")})
		}
		f.expired["alice"] = 8
	})
	o, file := options(f.url), cursorFile(t)
	if err := file.Save(t.Context(), postbox.Position{Epoch: f.epoch, Seq: 3}); err != nil {
		t.Fatal(err)
	}
	o.Cursor = file
	c := dial(t, o)
	gap := receive(t, c)
	if gap.Type != client.TypeGap || gap.Code != postbox.CodeExpired || gap.After != 3 || gap.Next != 9 {
		t.Errorf("received %+v, want a gap from 3 to 9", gap.Envelope)
	}
	gap.Ack()
	if d := receive(t, c); d.InboxSeq != 9 {
		t.Errorf("behind the gap comes number %d", d.InboxSeq)
	}
	closeNow(t, c)
	if at, err := file.Load(t.Context()); err != nil || at.Seq != 8 {
		t.Errorf("the cursor is %v, %v, want 8", at, err)
	}
}

// A place in a database that is gone is told as a gap by a real server, too.
func TestAPlaceOfAnotherEpochIsAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, sendOnly(w.as("alice")))
	o, file := w.as("bob"), cursorFile(t)
	if err := file.Save(t.Context(), postbox.Position{Epoch: "strange", Seq: 3}); err != nil {
		t.Fatal(err)
	}
	o.Cursor = file
	bob := dial(t, o)
	must(alice.Send(bounded(t), "bob", []byte("hello")))(t)
	gap := receive(t, bob)
	if gap.Type != client.TypeGap || gap.Code != postbox.CodeEpochChanged {
		t.Errorf("received %+v, want a gap", gap.Envelope)
	}
	gap.Ack()
	d := receive(t, bob)
	d.Ack()
	closeNow(t, bob)
	if at, err := file.Load(t.Context()); err != nil || at != d.Position() || at.Epoch != gap.Epoch {
		t.Errorf("the cursor is %v, %v, want %v", at, err, d.Position())
	}
}

func TestFromStartBeginsWithTheOldest(t *testing.T) {
	t.Parallel()
	w := newInside(t)
	alice := dial(t, sendOnly(w.as("alice")))
	for i := range 3 {
		must(alice.Send(bounded(t), "bob", []byte(fmt.Sprint(i))))(t)
	}
	with := w.as("bob")
	with.Cursor = cursorFile(t)
	for name, o := range map[string]client.Options{"with a session": w.as("bob"), "with a cursor": with} {
		o.FromStart = true
		bob := dial(t, o)
		if got := receiveBodies(t, bob, 2); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("%s it received %q first", name, got)
		}
		closeNow(t, bob)
		bob = dial(t, o)
		if got := receiveBodies(t, bob, 1); got[0] != "2" {
			t.Errorf("%s it went on with %q", name, got)
		}
	}
}

// brokenStore loads and saves as it is told.
type brokenStore struct {
	at         postbox.Position
	load, save error
}

func (s brokenStore) Load(context.Context) (postbox.Position, error) { return s.at, s.load }
func (s brokenStore) Save(context.Context, postbox.Position) error   { return s.save }

func TestACursorThatCannotBeKeptEndsTheClient(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	full := errors.New("the disk is full")
	o := options(f.url)
	o.Cursor = brokenStore{load: full}
	if _, err := client.Dial(bounded(t), o); !errors.Is(err, full) {
		t.Errorf("Dial = %v, want the store's error", err)
	}
	o.Cursor = brokenStore{at: postbox.Position{Epoch: f.epoch}, save: full}
	c, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	f.from("bob", "alice", "hello")
	receive(t, c).Ack()
	if _, err := c.Receive(bounded(t)); !errors.Is(err, full) {
		t.Errorf("Receive = %v, want the store's error", err)
	}
	if err := c.Close(bounded(t)); !errors.Is(err, full) {
		t.Errorf("Close = %v, want the store's error", err)
	}
}
