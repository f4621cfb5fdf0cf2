package client_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"postbox"
	"postbox/client"
)

// collect reads an iterator to its end.
func collect[T any](t testing.TB, all iter.Seq2[T, error]) []T {
	t.Helper()
	var items []T
	for item, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	return items
}

// must returns what a method returns without an error.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ptr[T any](v T) *T { return &v }

func sendOnly(o client.Options) client.Options {
	o.SendOnly = true
	return o
}

func bodiesOf(messages []client.Envelope) []string {
	var bodies []string
	for _, m := range messages {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// A message arrives with all that was said beside its body.
func TestWhatIsSaidBesideTheBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := dial(t, w.as("alice")), dial(t, w.as("bob"))
	ref := json.RawMessage(`{"reply_to":"<&>","n":1}`)
	for _, body := range []string{`{"x":1}`, "", "\xff\x00", strings.Repeat("\x01", 64<<10)} {
		r := must(alice.Send(bounded(t), "bob", []byte(body),
			client.WithContentType("application/json"), client.WithRef(ref), client.ExpiresIn(time.Hour)))(t)
		own, theirs := receive(t, alice), receive(t, bob)
		for _, e := range []client.Delivery{own, theirs} {
			if e.ID != r.ID || e.Seq != r.Seq || e.ContentType != "application/json" || string(e.Ref) != string(ref) || string(e.Body) != body {
				t.Errorf("%+v arrived as %+v", r, e.Envelope)
			}
			e.Ack()
		}
		if own.InboxSeq != r.InboxSeq || r.Duplicate {
			t.Errorf("the receipt %+v is not of the copy %+v", r, own.Envelope)
		}
	}
	for what, opt := range map[string]client.SendOption{
		"a ref larger than a packet": client.WithRef(json.RawMessage(`{"x":"` + strings.Repeat("x", 300<<10) + `"}`)),
		"a ref that is no object":    client.WithRef(json.RawMessage(`[1]`)),
		"a ref that is no JSON":      client.WithRef(json.RawMessage(`{`)),
		"a content type of 2 lines":  client.WithContentType("a\nb"),
		"a life of no second":        client.ExpiresIn(time.Millisecond),
	} {
		if r, err := alice.Send(bounded(t), "bob", nil, opt); err == nil {
			t.Errorf("%s is taken: %+v", what, r)
		}
	}
}

func TestHistoryIsReadByPagesAndAsAWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, sendOnly(w.as("alice")))
	bob := client.With("bob")
	const n = 7
	var sent []client.Receipt
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("page ", i))
		sent = append(sent, must(alice.Send(bounded(t), "bob", []byte(want[i])))(t))
	}
	for name, c := range map[string]struct {
		o     client.HistoryOptions
		want  []string
		after bool
	}{
		"the latest":         {client.HistoryOptions{Limit: 2}, want[5:], false},
		"before a seq":       {client.HistoryOptions{Before: client.AtSeq(sent[5].Seq), Limit: 2}, want[3:5], true},
		"after an id":        {client.HistoryOptions{After: client.AtID(sent[4].ID)}, want[5:], false},
		"between two":        {client.HistoryOptions{After: client.AtSeq(sent[1].Seq), Before: client.AtID(sent[4].ID)}, want[2:4], true},
		"around":             {client.HistoryOptions{Around: client.AtID(sent[3].ID), Limit: 3}, want[2:5], true},
		"after a time ahead": {client.HistoryOptions{After: client.AtTime(sent[6].SentAt.Add(time.Hour))}, nil, false},
	} {
		page := must(alice.History(bounded(t), bob, c.o))(t)
		if got := bodiesOf(page.Messages); !slices.Equal(got, c.want) || page.HasAfter != c.after || !page.HasBefore {
			t.Errorf("%s: %q (before: %t, after: %t), want %q", name, got, page.HasBefore, page.HasAfter, c.want)
		}
	}
	all := collect(t, alice.Messages(bounded(t), bob, client.AtSeq(sent[0].Seq-1)))
	if !slices.Equal(bodiesOf(all), want) || all[0].ID != sent[0].ID || all[0].From != "alice" || all[0].Type != client.TypeMessage {
		t.Errorf("read %q, want %q; the first %+v", bodiesOf(all), want, all[0])
	}
	if len(collect(t, alice.Messages(bounded(t), bob, postbox.Bound{}))) < n {
		t.Error("without a bound it is not read from the beginning")
	}
	if _, err := alice.History(bounded(t), client.With("nobody-has-this-name"), client.HistoryOptions{}); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("with nobody: %v, want ErrNotFound", err)
	}
}

// More messages than one reply has room for.
func TestIteratorsGoOverPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, sendOnly(w.as("alice")))
	body := strings.Repeat("x", 60<<10)
	first := must(alice.Send(bounded(t), "alice", []byte(body)))(t)
	for range 9 {
		must(alice.Send(bounded(t), "alice", []byte(body)))(t)
	}
	if n := len(collect(t, alice.Messages(bounded(t), client.With("alice"), client.AtSeq(first.Seq-1)))); n != 10 {
		t.Errorf("%d messages, want 10", n)
	}
	page := must(alice.Sync(bounded(t), postbox.Position{Seq: first.InboxSeq - 1}, 500))(t)
	if len(page.Entries) == 0 || len(page.Entries) == 10 || page.Complete {
		t.Errorf("one page has %d of the entries (complete: %t): this test shows nothing", len(page.Entries), page.Complete)
	}
	entries := collect(t, alice.Entries(bounded(t), postbox.Position{Epoch: page.Next.Epoch, Seq: first.InboxSeq - 1}))
	for i, e := range entries {
		if e.InboxSeq != first.InboxSeq+postbox.InboxSeq(i) || string(e.Body) != body {
			t.Fatalf("entry %d has the number %d", i, e.InboxSeq)
		}
	}
	if len(entries) != 10 {
		t.Errorf("%d entries, want 10", len(entries))
	}
	if _, err := alice.Sync(bounded(t), postbox.Position{Epoch: "strange", Seq: 1}, 1); !errors.Is(err, postbox.ErrEpochChanged) {
		t.Errorf("a strange epoch: %v, want ErrEpochChanged", err)
	}
}

func TestMessagesAreChangedReadAndFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := dial(t, w.as("alice")), dial(t, w.as("bob"))
	must(bob.Send(bounded(t), "alice", []byte("you may see how far I have read")))(t)
	receiveBodies(t, alice, 1)
	word := strings.ToLower(rand.Text())
	first := must(alice.Send(bounded(t), "bob", []byte("hello "+word)))(t)
	second := must(alice.Send(bounded(t), "bob", []byte("again "+word)))(t)

	edited := must(alice.Edit(bounded(t), first.ID, []byte("good morning "+word)))(t)
	if edited.Type != client.TypeEdit || edited.Seq != first.Seq || string(edited.Body) != "good morning "+word {
		t.Errorf("the edit is %+v", edited)
	}
	retracted := must(alice.Retract(bounded(t), second.ID, client.WithKey("r-"+word)))(t)
	again := must(alice.Retract(bounded(t), second.ID, client.WithKey("r-"+word)))(t)
	if retracted.Type != client.TypeRetract || again.ID != retracted.ID {
		t.Errorf("retracted twice under one key: %+v, %+v", retracted, again)
	}
	if _, err := bob.Edit(bounded(t), first.ID, []byte("mine")); !errors.Is(err, postbox.ErrForbidden) {
		t.Errorf("an edit of another's message: %v, want ErrForbidden", err)
	}
	if seq := must(bob.Read(bounded(t), client.With("alice"), second.Seq))(t); seq != second.Seq {
		t.Errorf("read up to %d, want %d", seq, second.Seq)
	}
	var types []string
	for range 5 { // two messages, an edit, a retraction, the other's read marker
		d := receive(t, alice)
		types = append(types, d.Type)
		d.Ack()
	}
	if want := []string{"message", "message", "edit", "retract", "read"}; !slices.Equal(types, want) {
		t.Errorf("received %q, want %q", types, want)
	}
	page := must(bob.History(bounded(t), client.With("alice"), client.HistoryOptions{Limit: 2}))(t)
	if m := page.Messages; m[0].EditedAt.IsZero() || string(m[0].Body) != "good morning "+word || !m[1].Retracted || m[1].Body != nil {
		t.Errorf("the history has %+v", m)
	}
	for c, err := range alice.Conversations(bounded(t)) {
		if err != nil || c.With != "bob" || c.Last == nil || c.Last.ID != second.ID || c.PeerRead != second.Seq || c.ReadSeq != second.Seq {
			t.Errorf("the newest conversation is %+v with %+v: %v", c, c.Last, err)
		}
		break
	}
	// The index is a moment behind.
	for ctx := bounded(t); ; {
		found := collect(t, bob.Search(ctx, word, client.SearchOptions{Place: client.With("alice"), From: "alice"}))
		if len(found) == 1 && found[0].ID == first.ID {
			break
		}
		if len(found) > 1 || ctx.Err() != nil {
			t.Fatalf("found %+v", found)
		}
	}
	for _, err := range bob.Search(bounded(t), "!", client.SearchOptions{}) {
		if !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("a search for nothing: %v, want ErrInvalid", err)
		}
	}
}

func TestProfilesAndBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := dial(t, sendOnly(w.as("alice"))), dial(t, sendOnly(w.as("bob")))
	name := "Alice <" + rand.Text() + ">"
	before := must(alice.Me(bounded(t)))(t)
	me := must(alice.UpdateMe(bounded(t), client.ProfileChange{DisplayName: &name}))(t)
	if me.User != "alice" || me.DisplayName != name || me.Receipts != before.Receipts || me.Accept != before.Accept {
		t.Errorf("the profile is %+v, was %+v", me, before)
	}
	people := must(bob.Profiles(bounded(t), "nobody-has-this-name", "alice", "bob"))(t)
	if len(people) != 2 || people[0] != (client.Person{User: "alice", DisplayName: name}) || people[1].User != "bob" {
		t.Errorf("the profiles are %+v", people)
	}
	if _, err := alice.UpdateMe(bounded(t), client.ProfileChange{Accept: ptr("friends")}); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("a choice that there is not: %v, want ErrInvalid", err)
	}

	if err := alice.Block(bounded(t), "bob"); err != nil {
		t.Fatal(err)
	}
	if all := must(alice.Blocks(bounded(t)))(t); !slices.Equal(all, []postbox.User{"bob"}) {
		t.Errorf("blocked are %q", all)
	}
	if _, err := bob.Send(bounded(t), "alice", []byte("hello")); !errors.Is(err, postbox.ErrForbidden) {
		t.Errorf("from who is blocked: %v, want ErrForbidden", err)
	}
	if err := alice.Unblock(bounded(t), "bob"); err != nil {
		t.Fatal(err)
	}
	must(bob.Send(bounded(t), "alice", []byte("hello")))(t)
	if err := alice.Block(bounded(t), "nobody-has-this-name"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a block of nobody: %v, want ErrNotFound", err)
	}
}

func TestDevicesAreListedAndRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.as("alice")
	alice, other := dial(t, sendOnly(w.as("alice"))), dial(t, o)
	i := slices.IndexFunc(must(alice.Devices(bounded(t)))(t), func(d client.Device) bool { return d.Name == o.Device && d.Connected })
	if i < 0 {
		t.Error("the other device is not listed as connected")
	}
	if err := alice.RevokeDevice(bounded(t), o.Device); err != nil {
		t.Fatal(err)
	}
	if err := alice.RevokeDevice(bounded(t), "nothing-is-called-so"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a device that there is not: %v, want ErrNotFound", err)
	}
	// With its password the device may come back, as a new one.
	must(other.Me(bounded(t)))(t)
}

func TestAnyOperationIsCalledByItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := dial(t, sendOnly(w.as("alice")))
	var reply struct {
		Logins []json.RawMessage `json:"logins"`
	}
	if err := alice.Call(bounded(t), "logins", nil, &reply); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		operation string
		request   any
		want      error
	}{
		"no such operation":     {"dance", nil, postbox.ErrNotFound},
		"what can be none":      {"me/#", nil, postbox.ErrNotFound},
		"a large one":           {"me", map[string]string{"x": strings.Repeat("x", 200<<10)}, postbox.ErrInvalid},
		"more than a packet":    {"me", map[string]string{"x": strings.Repeat("x", 300<<10)}, postbox.ErrTooLarge},
		"an unknown field":      {"me", map[string]int{"years": 7}, postbox.ErrInvalid},
		"for administrators":    {"users", nil, postbox.ErrForbidden},
		"what is no object":     {"me", 7, postbox.ErrInvalid},
		"one of the own fields": {"history", map[string]string{"with": "Bob"}, postbox.ErrInvalid},
	} {
		if err := alice.Call(bounded(t), c.operation, c.request, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := alice.Me(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a ctx that has ended: %v", err)
	}
}
