package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postbox"
)

// index runs the indexer until it has nothing to do.
func (w *world) index() {
	w.t.Helper()
	x := w.store.NewIndexer()
	for more := true; more; {
		var err error
		if more, err = x.Round(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// search gives the bodies that a user finds.
func (w *world) search(user postbox.User, r postbox.SearchRequest) []string {
	w.t.Helper()
	r.User = w.ids[user]
	if r.Limit == 0 {
		r.Limit = 50
	}
	messages, _, err := w.store.Search(w.t.Context(), r)
	if err != nil {
		w.t.Fatalf("%+v: %v", r, err)
	}
	all := []string{}
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return all
}

// Bounds are excluded, and those of another's messages are not known.
func TestSearchBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	l := w.lane(0)
	var all []*postbox.Publish
	for i := range 6 {
		p := w.publish("alice", "bob", fmt.Sprint("word ", i+1))
		w.append(l, p)
		all = append(all, p)
	}
	foreign := w.publish("bob", "carol", "word of others")
	w.append(l, foreign)
	w.exec(`UPDATE postbox.messages SET sent_at = '2026-01-01T00:00:00Z'::timestamptz + interval '1 second' * seq`)
	w.index()
	place, err := w.store.Place(t.Context(), w.ids["alice"], "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(second int) postbox.Bound { return byTime(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC)) }
	for _, c := range []struct {
		name string
		r    postbox.SearchRequest
		want string
	}{
		{"all", postbox.SearchRequest{}, "6 5 4 3 2 1"},
		{"before an id", postbox.SearchRequest{Before: byID(all[3].Message)}, "3 2 1"},
		{"after an id", postbox.SearchRequest{After: byID(all[3].Message)}, "6 5"},
		{"between", postbox.SearchRequest{After: at(2), Before: at(5)}, "4 3"},
		{"between nothing", postbox.SearchRequest{After: at(5), Before: at(2)}, ""},
		{"before the beginning", postbox.SearchRequest{Before: at(0)}, ""},
		{"after the end", postbox.SearchRequest{After: at(7)}, ""},
		{"before a seq", postbox.SearchRequest{Place: &place, Before: bySeq(3)}, "2 1"},
		{"after a seq", postbox.SearchRequest{Place: &place, After: bySeq(3)}, "6 5 4"},
		{"beyond all", postbox.SearchRequest{Place: &place, Before: bySeq(99), After: bySeq(0)}, "6 5 4 3 2 1"},
	} {
		c.r.Text = "word"
		got := strings.ReplaceAll(strings.Join(w.search("alice", c.r), " "), "word ", "")
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for name, r := range map[string]postbox.SearchRequest{
		"another's message":    {Before: byID(foreign.Message)},
		"no message":           {After: postbox.Bound{ID: newID(), Set: true}},
		"not in this place":    {Place: &place, Before: byID(foreign.Message)},
		"a sender whom nobody": {From: "nobody"},
	} {
		r.User, r.Text, r.Limit = w.ids["alice"], "word", 5
		if got, _, err := w.store.Search(t.Context(), r); !errors.Is(err, postbox.ErrNotFound) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// What is no text is stored and not found, and a long text is found by its
// beginning; many long ones take the indexer several rounds.
func TestSearchOfWhatIsLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	filler := strings.Repeat("x ", 100<<10)
	var all []*postbox.Publish
	for i := range 40 {
		all = append(all, w.publish("alice", "bob", fmt.Sprintf("large %d %s", i, filler)))
	}
	nul, image := w.publish("alice", "bob", "large nul\x00"), w.publish("alice", "bob", "large image")
	image.Message.ContentType = "image/png"
	w.append(l, append(all, nul, image, w.publish("alice", "bob", "large \xff"), w.publish("alice", "bob", strings.Repeat("y ", 150<<10)+"large"),
		w.publish("alice", "bob", ""))...)
	x := w.store.NewIndexer()
	rounds := 0
	for more := true; more; rounds++ {
		var err error
		if more, err = x.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if rounds < 3 || x.Lag(time.Now()) > time.Minute {
		t.Errorf("%d rounds, %v behind", rounds, x.Lag(time.Now()))
	}
	if n := w.number(`SELECT count(*) FROM postbox.search`); n != 41 {
		t.Errorf("%d messages are in the index", n)
	}
	r := postbox.SearchRequest{User: w.ids["bob"], Text: "large", Limit: 50}
	seen := 0
	for more := true; more; seen++ {
		page, has, err := w.store.Search(t.Context(), r)
		if err != nil || len(page) == 0 || len(page) > 7 {
			t.Fatalf("a page of %d, %v", len(page), err)
		}
		seen += len(page) - 1
		more, r.Before = has, byID(page[len(page)-1])
	}
	if seen != 40 {
		t.Errorf("%d messages were found", seen)
	}
}

// No terms are left of what was retracted or deleted as soon as it is, nor of
// what has expired or of an erased body after the next round.
func TestSearchForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	bodies := []string{"word retracted", "word deleted", "word expired", "word erased", "word edited", "word left"}
	var all []*postbox.Publish
	for _, body := range bodies {
		all = append(all, w.publish("alice", "bob", body))
	}
	w.append(l, all...)
	w.index()
	terms := func() string {
		var s []string
		if err := w.store.DB().Select(&s, `SELECT convert_from(m.body, 'UTF8') FROM postbox.search s JOIN postbox.messages m USING (conversation_id, seq) ORDER BY seq`); err != nil {
			t.Fatal(err)
		}
		if n := w.number(`SELECT count(*) FROM postbox.search`); n != len(s) {
			t.Errorf("%d rows without a message", n-len(s))
		}
		return strings.ReplaceAll(strings.Join(s, " "), "word ", "")
	}
	if got := terms(); got != "retracted deleted expired erased edited left" {
		t.Fatal(got)
	}
	retract := &postbox.Change{Type: postbox.EntryRetract, Actor: w.ids["alice"], Target: all[0].Message.ID, Event: postbox.Event{ID: newID(), From: "alice"}}
	edit := &postbox.Change{Type: postbox.EntryEdit, Actor: w.ids["alice"], Target: all[4].Message.ID, Event: postbox.Event{ID: newID(), From: "alice"}, Body: []byte("word new")}
	for _, c := range []*postbox.Change{retract, edit} {
		if err := l.Change(t.Context(), c); err != nil || c.Refusal != nil {
			t.Fatal(err, c.Refusal)
		}
	}
	w.exec(`DELETE FROM postbox.messages WHERE seq = 2`)
	w.exec(`UPDATE postbox.messages SET body = '' WHERE seq = 4`)
	if got := terms(); got != "expired left" {
		t.Errorf("at once: %s", got)
	}
	w.exec(`UPDATE postbox.messages SET expires_at = now() + interval '1 hour' WHERE seq = 3`)
	w.index()
	if got := terms(); got != "expired new left" {
		t.Errorf("after a round: %s", got)
	}
	w.exec(`UPDATE postbox.search SET expires_at = now() WHERE expires_at IS NOT NULL`)
	w.index()
	if got := terms(); got != "new left" {
		t.Errorf("after the expiry: %s", got)
	}
	if got := w.search("bob", postbox.SearchRequest{Text: "edited"}); len(got) != 0 {
		t.Errorf("an old text is found: %q", got)
	}
}

// The text of a message does not come into the index, though it is remembered, if the
// message was retracted before its entry of the queue could be seen.
func TestChangeOvertakesMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	x := w.store.NewIndexer()
	w.append(w.lane(0), w.publish("alice", "bob", "word"))
	w.exec(`CREATE TABLE public.later AS SELECT * FROM postbox.search_queue`)
	w.exec(`DELETE FROM postbox.search_queue`)
	w.exec(`UPDATE postbox.messages SET retracted_at = now(), body = ''`)
	for range 2 {
		if _, err := x.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.number(`SELECT count(*) FROM postbox.search`); n != 0 {
			t.Errorf("%d messages are in the index", n)
		}
		w.exec(`INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts) SELECT queued_at, conversations, afters, counts FROM public.later`)
	}
}

// What a transaction stores that began before others and ends after them is found
// as well, and holds nobody up; neither does one that only reads.
func TestSearchBesideLongTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol", "dave")
	slow, fast := w.lane(0), w.lane(1)
	snapshot, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = snapshot.Rollback() }()
	if _, err := snapshot.Exec(`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Exec(`CREATE TEMPORARY TABLE writer AS SELECT 1`); err != nil {
		t.Fatal(err)
	}
	// The slow lane has stored its batch, and waits for the row of an inbox.
	lock, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	late := w.publish("alice", "bob", "word late")
	if _, err := lock.Exec(`INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq) VALUES ($1, 1, 0, 0)`, w.ids["bob"]); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.persist(slow, batch(late)) }()
	w.waitFor("the slow lane", blocked, "postbox.append(", 1)
	for i := range 5 {
		w.append(fast, w.publish("carol", "dave", fmt.Sprint("word ", i)))
	}
	w.index()
	if got := w.search("dave", postbox.SearchRequest{Text: "word"}); len(got) != 5 {
		t.Errorf("beside the slow lane: %q", got)
	}
	if got := w.search("bob", postbox.SearchRequest{Text: "word"}); len(got) != 0 {
		t.Errorf("before the commit: %q", got)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.index()
	if got := w.search("bob", postbox.SearchRequest{Text: "word"}); !slices.Equal(got, []string{"word late"}) {
		t.Errorf("after the commit: %q", got)
	}
}

// While one server indexes another one does not.
func TestOneIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.append(w.lane(0), w.publish("alice", "bob", "word"))
	tx, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`SELECT 1 FROM postbox.search_state FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	x := w.store.NewIndexer()
	if more, err := x.Round(t.Context()); more || err != nil {
		t.Fatal(more, err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.search`); n != 0 {
		t.Errorf("%d messages were indexed", n)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	w.index()
	if got := w.search("bob", postbox.SearchRequest{Text: "word"}); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// An indexer tells how far it is behind while it works, not when it has nothing to do.
func TestBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	w.append(l, w.publish("alice", "bob", "word"))
	x := w.store.NewIndexer()
	if d := x.Behind(time.Now().Add(time.Hour)); d != 0 {
		t.Errorf("%v behind before it has worked", d)
	}
	if _, err := x.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(500 * time.Millisecond)
	if d := x.Behind(now); d == 0 || d != x.Lag(now) {
		t.Errorf("%v behind, want %v", d, x.Lag(now))
	}
	if d := x.Behind(now.Add(time.Second)); d != 0 {
		t.Errorf("%v behind though it does nothing", d)
	}
}

// A connection that is lost while the indexer writes ends that round, not the indexer,
// and nothing is missed or in the index twice.
func TestCutWhileIndexing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	wire, url := newWire(t, w.url)
	x := w.open(url).NewIndexer()
	sent := 0
	for _, reset := range []bool{false, true} {
		wire.reset = reset
		for _, c := range []cut{before, racing} {
			sent++
			w.append(l, w.publish("alice", "bob", fmt.Sprintf("word %d", sent)))
			wire.once("COPY postbox.search", c)
			cuts := wire.count()
			ended := make(chan error, 1)
			go func() {
				_, err := x.Round(t.Context())
				ended <- err
			}()
			select {
			case err := <-ended:
				if !errors.Is(err, postbox.ErrUnavailable) || wire.count() == cuts {
					t.Errorf("cut %d: it ended with %v", c, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("cut %d: it does not end", c)
			}
			for limit := time.Now().Add(10 * time.Second); ; { // PostgreSQL may not have noticed yet
				if _, err := x.Round(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := w.search("bob", postbox.SearchRequest{Text: "word"})
				if len(got) == sent {
					break
				}
				if len(got) > sent || time.Now().After(limit) {
					t.Fatalf("cut %d: found %d of %d", c, len(got), sent)
				}
			}
		}
	}
}
