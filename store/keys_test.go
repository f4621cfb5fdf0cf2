package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

// stored is what a publish became.
func stored(p *postbox.Publish) postbox.Stored {
	return postbox.Stored{ID: p.Message.ID, Seq: p.Message.Seq, InboxSeq: p.InboxSeq, SentAt: p.Message.SentAt, Digest: p.Digest}
}

func TestKeyUsedBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	l, other := w.lane(0), w.lane(1)
	first := keyed(w.publish("alice", "bob", "hello"), "k")
	w.append(l, first)

	again := keyed(w.publish("alice", "bob", "hello"), "k")
	w.append(other, again)
	want := stored(first)
	if diff := cmp.Diff(&want, again.Used); diff != "" {
		t.Errorf("the same again: -want +got:\n%s", diff)
	}
	// Another body or destination is a conflict: the caller sees it by the digest.
	for _, p := range []*postbox.Publish{keyed(w.publish("alice", "bob", "other"), "k"), keyed(w.publish("alice", "carol", "hello"), "k")} {
		w.append(l, p)
		if diff := cmp.Diff(&want, p.Used); diff != "" || p.Used.Digest == p.Digest {
			t.Errorf("something else: -want +got:\n%s", diff)
		}
	}
	// A key belongs to its sender, and to its letters.
	theirs, capital := keyed(w.publish("bob", "alice", "hello"), "k"), keyed(w.publish("alice", "bob", "hello"), "K")
	w.append(l, theirs, capital)
	w.agree(first, theirs, capital)
	w.audit(3)
}

// Used keys among new messages take no number from them.
func TestKeysUsedBeforeAmongNewMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	one, two := keyed(w.publish("alice", "bob", "one"), "1"), keyed(w.publish("bob", "alice", "two"), "2")
	w.append(l, one, two)
	b := batch(
		w.publish("alice", "bob", "a"), keyed(w.publish("alice", "bob", "one"), "1"), keyed(w.publish("alice", "bob", "b"), "3"),
		keyed(w.publish("bob", "alice", "not two"), "2"), w.publish("bob", "alice", "c"),
	)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for i, first := range map[int]*postbox.Publish{1: one, 3: two} {
		want := stored(first)
		if diff := cmp.Diff(&want, b.Publishes[i].Used); diff != "" {
			t.Errorf("%d: -want +got:\n%s", i, diff)
		}
	}
	w.agree(b.Publishes[0], b.Publishes[2], b.Publishes[4])
	if diff := cmp.Diff([]string{"one", "two", "a", "b", "c"}, bodies(w.entries("bob"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.audit(5)
}

// Two servers that are given one key at once store it once.
func TestKeyUsedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	lanes := []*store.Lane{w.lane(0), w.lane(1), w.lane(2)}
	const rounds = 20
	for range rounds {
		key := newID().String()
		done := make(chan *postbox.Publish)
		for _, l := range lanes {
			p := keyed(w.publish("alice", "bob", "hello"), key)
			go func() {
				if err := w.persist(l, batch(p)); err != nil {
					t.Error(err)
				}
				done <- p
			}()
		}
		fresh := 0
		for range lanes {
			if p := <-done; p.Used == nil {
				fresh++
			}
		}
		if fresh != 1 {
			t.Fatalf("%d of %d were the first", fresh, len(lanes))
		}
	}
	w.audit(rounds)
}

func TestSigningKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := store.SigningKey{ID: "one", Secret: []byte{0, 1, 0xff}}
	for _, fresh := range []store.SigningKey{first, {ID: "two", Secret: []byte("other")}} {
		keys, err := w.store.SigningKeys(t.Context(), fresh)
		if err != nil || len(keys) != 1 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		if age := time.Since(keys[0].CreatedAt); age < -time.Minute || age > time.Minute {
			t.Errorf("made %v ago", age)
		}
		keys[0].CreatedAt = time.Time{}
		if diff := cmp.Diff(first, keys[0]); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	w.exec(`INSERT INTO postbox.signing_keys (id, secret, created_at) VALUES ('new', '\x02', now() + interval '1 hour')`)
	keys, err := w.store.SigningKeys(t.Context(), first)
	if err != nil || len(keys) != 2 || keys[0].ID != "new" || keys[1].ID != "one" {
		t.Errorf("the newest first: %+v, %v", keys, err)
	}
}
