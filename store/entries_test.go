package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

func TestEntriesArePaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	for i := range 10 {
		w.append(l, w.publish("alice", "bob", fmt.Sprint(i+1)))
	}
	for _, test := range []struct {
		after, upTo postbox.InboxSeq
		limit       int
		want        []string
	}{
		{0, 10, 3, []string{"1", "2", "3"}},
		{3, 10, 3, []string{"4", "5", "6"}},
		{8, 10, 5, []string{"9", "10"}},
		{3, 5, 9, []string{"4", "5"}},
		{3, 3, 9, nil},
		{10, 20, 9, nil},
		{-1, 1, 9, []string{"1"}},
	} {
		got, err := w.store.Entries(t.Context(), w.ids["bob"], test.after, test.upTo, test.limit)
		if diff := cmp.Diff(test.want, bodies(got)); err != nil || diff != "" {
			t.Errorf("after %d up to %d, %d: %v, -want +got:\n%s", test.after, test.upTo, test.limit, err, diff)
		}
	}
}

// Entries show the present state of their messages.
func TestEntriesShowThePresent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	p := w.publish("alice", "bob", "before")
	w.append(w.lane(0), p)
	w.exec(`UPDATE postbox.messages SET body = 'after', edited_at = sent_at + interval '1 second', retracted_at = sent_at + interval '2 seconds'`)
	got := w.entries("bob")
	want := *p.Message
	want.Body, want.EditedAt, want.RetractedAt = []byte("after"), want.SentAt.Add(1e9), want.SentAt.Add(2e9)
	if diff := cmp.Diff([]*postbox.Entry{{InboxSeq: 1, Message: &want}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What retention removed is missing from a page, which goes on behind it.
func TestEntriesAfterRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	for i := range 6 {
		w.append(l, w.publish("alice", "bob", fmt.Sprint(i+1)))
	}
	w.exec(`DELETE FROM postbox.inbox WHERE user_id = $1 AND inbox_seq <= 4`, w.ids["bob"])
	got, err := w.store.Entries(t.Context(), w.ids["bob"], 1, 6, 9)
	if err != nil || len(got) != 2 || got[0].InboxSeq != 5 || string(got[1].Message.Body) != "6" {
		t.Errorf("%v, %v", bodies(got), err)
	}
	if head, err := w.store.Head(t.Context(), w.ids["bob"]); err != nil || head != 6 {
		t.Errorf("head %d, %v", head, err)
	}
}

// Retention may remove more while a page is read. What is there is found all the
// same: none would be told to the device as lost.
func TestEntriesDuringRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	for i := range 40 {
		w.append(l, w.publish("alice", "bob", fmt.Sprint(i+1)))
	}
	bob := w.ids["bob"]
	w.exec(`CREATE TABLE public.kept AS SELECT * FROM postbox.inbox WHERE user_id = $1 AND inbox_seq BETWEEN 11 AND 39`, int64(bob))
	w.exec(`DELETE FROM postbox.inbox WHERE user_id = $1 AND inbox_seq <= 10`, int64(bob))
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		var retention sync.WaitGroup
		retention.Go(func() {
			for n := 11; n <= 39; n += 4 {
				w.exec(`DELETE FROM postbox.inbox WHERE user_id = $1 AND inbox_seq <= least($2, 39)`, int64(bob), n+3)
			}
		})
		for range 20 {
			got, err := w.store.Entries(t.Context(), bob, 0, 40, 4)
			if err != nil || len(got) == 0 {
				t.Fatalf("%d entries, %v; the last one is there", len(got), err)
			}
		}
		retention.Wait()
		w.exec(`INSERT INTO postbox.inbox SELECT * FROM public.kept`)
	}
}
