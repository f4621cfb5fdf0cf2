package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postbox"
)

// What has just come is found before the index has it, by those who may read it and
// among what is in the index: each once, the newest first.
func TestSearchFindsWhatIsNotInTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	w.seesAll()
	l := w.lane(0)
	old, taken := w.publish("alice", "bob", "word old"), w.publish("bob", "alice", "word taken back")
	w.append(l, old, w.publish("alice", "bob", "plain"), taken, w.publish("alice", "alice", "word noted"))
	w.index()
	w.append(l, w.publish("bob", "alice", "word new"), w.publish("alice", "carol", "word for carol"))
	w.commit(l, w.change(postbox.EntryEdit, "alice", old.Message.ID, "word edited"))
	w.commit(l, w.change(postbox.EntryRetract, "bob", taken.Message.ID, ""))
	picture := w.publish("alice", "bob", "word in a picture")
	picture.Message.ContentType = "image/png"
	w.append(l, picture)
	bob, err := w.store.Place(t.Context(), w.ids["alice"], "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user postbox.User
		r    postbox.SearchRequest
		want []string
	}{
		{"alice", postbox.SearchRequest{Text: "word"}, []string{"word for carol", "word new", "word noted", "word edited"}},
		{"alice", postbox.SearchRequest{Text: "word", Limit: 3}, []string{"word for carol", "word new", "word noted"}},
		{"alice", postbox.SearchRequest{Text: "word", Place: &bob}, []string{"word new", "word edited"}},
		{"alice", postbox.SearchRequest{Text: "word", From: "bob"}, []string{"word new"}},
		{"alice", postbox.SearchRequest{Text: "word", Before: byTime(old.Message.SentAt.Add(time.Millisecond))}, []string{"word noted", "word edited"}},
		{"alice", postbox.SearchRequest{Text: `edit*`, After: byTime(old.Message.SentAt)}, nil},
		{"alice", postbox.SearchRequest{Text: `"word old"`}, nil},
		{"bob", postbox.SearchRequest{Text: "word"}, []string{"word new", "word edited"}},
		{"carol", postbox.SearchRequest{Text: "word"}, []string{"word for carol"}},
	} {
		if got := w.search(c.user, c.r); !slices.Equal(got, c.want) {
			t.Errorf("%s, %+v: %q, want %q", c.user, c.r, got, c.want)
		}
	}
	if n := w.number(`SELECT count(*) FROM postbox.search`); n != 2 { // of four, one of which is edited, and one retracted
		t.Errorf("%d messages are in the index", n)
	}
}

// In an inbox is looked as far back as the index may be incomplete, and no further: not
// at what came more than some seconds before the time that it covers.
func TestSearchLooksBackToTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.seesAll()
	l := w.lane(0)
	for i := range 40 {
		w.append(l, w.publish("alice", "bob", fmt.Sprint("word ", i)))
	}
	w.exec(`UPDATE postbox.messages SET sent_at = '2026-01-01T00:00:00Z'::timestamptz + interval '1 second' * seq`)
	for covered, want := range map[int]int{-10: 40, 5: 40, 6: 40, 7: 39, 25: 21, 44: 2, 45: 1, 46: 0, 99: 0} {
		w.exec(`UPDATE postbox.search_state SET covered = '2026-01-01T00:00:00Z'::timestamptz + interval '1 second' * $1`, covered)
		for _, limit := range []int{7, 50} {
			got := w.pages("bob", "word", limit, limit, limit)
			if len(got) != want {
				t.Errorf("covered to second %d: found %d, want %d", covered, len(got), want)
			}
			for i, body := range got {
				if body != fmt.Sprint("word ", 39-i) {
					t.Errorf("covered to second %d: %d is %q", covered, i, body)
				}
			}
		}
	}
}

// pages searches for words page by page. All have between least and most messages, the
// last one maybe fewer.
func (w *world) pages(user postbox.User, text string, limit, least, most int) (bodies []string) {
	w.t.Helper()
	r := postbox.SearchRequest{User: w.ids[user], Text: text, Limit: limit}
	for more := true; more; {
		page, has, err := w.store.Search(w.t.Context(), r)
		if err != nil || len(page) > most || has && len(page) < least {
			w.t.Fatalf("a page of %d after %d, more: %v, %v", len(page), len(bodies), has, err)
		}
		for _, m := range page {
			bodies = append(bodies, string(m.Body))
		}
		if more = has; more {
			r.Before = byID(page[len(page)-1])
		}
	}
	return bodies
}

// Where much has come that is large, it is found in pages, as it is in the index.
func TestSearchFindsWhatIsLargeAndNotInTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.seesAll()
	filler := strings.Repeat("x ", 100<<10)
	var all []*postbox.Publish
	for i := range 30 {
		all = append(all, w.publish("alice", "bob", fmt.Sprintf("word %d %s", i, filler)), w.publish("alice", "bob", "small"))
	}
	w.append(w.lane(0), all...)
	check := func(n int) {
		t.Helper()
		got, small := w.pages("bob", "word", 50, 1, 7), w.pages("bob", "small", 50, 50, 50)
		if len(got) != n || len(small) != n {
			t.Errorf("%d messages and %d small ones were found, want %d", len(got), len(small), n)
		}
		for i, body := range got {
			if want := fmt.Sprintf("word %d ", 29-i); !strings.HasPrefix(body, want) {
				t.Errorf("found %.12q, want %q", body, want)
			}
		}
	}
	check(30)
	// Where one statement meets both large ones, for which it has no room, and old ones.
	w.exec(`UPDATE postbox.messages SET sent_at = sent_at - interval '1 hour' WHERE seq <= 20`)
	check(20)
}

// How far the index is complete is noted with what is put into it: up to the oldest that
// still waits. Some time after the last message it is up to then, so that no search looks
// at that any more, and is noted no more.
func TestIndexNotesHowFarItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.seesAll()
	l := w.lane(0)
	for range 300 { // batches, of which a round takes 256
		w.append(l, w.publish("alice", "bob", "word"))
	}
	x := w.store.NewIndexer()
	state := func(condition string) {
		t.Helper()
		if w.number(`SELECT count(*) FROM postbox.search_state WHERE `+condition) != 1 {
			t.Errorf("it is not so that %s", condition)
		}
	}
	round := func(more bool) {
		t.Helper()
		if got, err := x.Round(t.Context()); err != nil || got != more {
			t.Fatalf("more: %v, %v", got, err)
		}
	}
	round(true)
	state(`covered > (SELECT min(sent_at) FROM postbox.messages) AND covered <= (SELECT min(queued_at) FROM postbox.search_queue)`)
	round(false)
	state(`covered > (SELECT max(sent_at) FROM postbox.messages)`)
	w.exec(`CREATE TABLE public.before AS SELECT covered FROM postbox.search_state`)
	round(false)
	state(`covered = (SELECT covered FROM public.before)`)
	w.exec(`UPDATE postbox.search_state SET newest = newest - interval '1 minute', covered = covered - interval '1 minute'`)
	round(false)
	state(`covered > (SELECT covered FROM public.before)`)
	w.exec(`UPDATE public.before SET covered = s.covered FROM postbox.search_state s`)
	round(false)
	state(`covered = (SELECT covered FROM public.before)`)
}
