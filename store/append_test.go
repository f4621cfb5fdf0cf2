package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

func TestAppendNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	l := w.lane(0)
	one, two := w.publish("alice", "bob", "one"), w.publish("bob", "alice", "two")
	three, note := w.publish("carol", "bob", "three"), w.publish("alice", "alice", "note")
	w.append(l, one, two, three, note)
	four := w.publish("alice", "bob", "four")
	w.append(l, four)
	type numbers struct {
		Seq  postbox.Seq
		Own  postbox.InboxSeq
		Them []postbox.InboxSeq
	}
	got := map[string]numbers{}
	for _, p := range []*postbox.Publish{one, two, three, note, four} {
		got[string(p.Message.Body)] = numbers{p.Message.Seq, p.InboxSeq, p.InboxSeqs}
	}
	want := map[string]numbers{
		"one":   {1, 1, []postbox.InboxSeq{1}},
		"two":   {2, 2, []postbox.InboxSeq{2}},
		"three": {1, 1, []postbox.InboxSeq{3}},
		"note":  {1, 3, nil},
		"four":  {3, 4, []postbox.InboxSeq{4}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.agree(one, two, three, note, four)
	w.audit(5)
	for user, want := range map[postbox.User][]string{
		"alice": {"one", "two", "note", "four"}, "bob": {"one", "two", "three", "four"}, "carol": {"three"},
	} {
		if diff := cmp.Diff(want, bodies(w.entries(user))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", user, diff)
		}
		if head, err := w.store.Head(t.Context(), w.ids[user]); err != nil || int(head) != len(want) {
			t.Errorf("%s: head %d, %v", user, head, err)
		}
	}
}

// All fields come back as they went in.
func TestAppendKeepsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	p := w.publish("alice", "bob", "a\x00\xff\u2028é")
	m := p.Message
	m.ContentType, m.Ref, m.Device, m.Key = "a/b; c=é", `{"a": [1, "é"]}`, "téléphone", `k{},"\`
	p.Expiry, p.PacketID, p.QoS = 4_294_967_295, 65_535, 2
	bare := w.publish("bob", "alice", "")
	w.append(w.lane(0), p, bare)
	if m.SentAt.IsZero() || m.ExpiresAt.Sub(m.SentAt) != 4_294_967_295*time.Second || !bare.Message.ExpiresAt.IsZero() {
		t.Errorf("sent %v, expires %v and %v", m.SentAt, m.ExpiresAt, bare.Message.ExpiresAt)
	}
	if m.SentAt.Nanosecond()%int(time.Millisecond) != 0 || m.SentAt.Location() != time.UTC {
		t.Errorf("sent at %v: not milliseconds in UTC", m.SentAt)
	}
	sameBody := cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) }) // no bytes are nil or empty
	for user, own := range map[postbox.User]bool{"alice": true, "bob": false} {
		want := []*postbox.Entry{{InboxSeq: 1, Message: m, Own: own}, {InboxSeq: 2, Message: bare.Message, Own: !own}}
		if diff := cmp.Diff(want, w.entries(user), sameBody); diff != "" {
			t.Errorf("%s: -want +got:\n%s", user, diff)
		}
	}
	sent, _, err := w.store.SentPublish(t.Context(), m.Sender, m.Device, p.PacketID, postbox.MessageID{}, 0)
	if diff := cmp.Diff(&postbox.SentPublish{PacketID: 65_535, QoS: 2, Stored: stored(p)}, sent); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

// Bodies travel as one value and are cut in the database.
func TestAppendCutsBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	c := w.publish("alice", "bob", "").Message.Conversation
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	var all []*postbox.Publish
	var want []string
	for i := range 1024 {
		body := strings.Repeat(string(rune(random.IntN(0x2fff))), random.IntN(300)) + fmt.Sprint(i)
		all, want = append(all, w.draft(c, "alice", "bob", body)), append(want, body)
	}
	w.append(w.lane(0), all...)
	if diff := cmp.Diff(want, bodies(w.entries("bob"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i, p := range all {
		if p.Message.Seq != postbox.Seq(i+1) || p.InboxSeqs[0] != postbox.InboxSeq(i+1) {
			t.Fatalf("publish %d: %d, %v", i, p.Message.Seq, p.InboxSeqs)
		}
	}
	if n := w.number(`SELECT count(*) FROM postbox.messages WHERE octet_length(digest) = 16`); n != len(all) {
		t.Errorf("%d digests of 16 bytes", n)
	}
	w.audit(len(all))
}

// A clock that goes back does not take sent_at with it.
func TestAppendTimeNeverDecreases(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	now := time.Date(2026, 11, 22, 15, 4, 5, 123_999_999, time.UTC)
	var last time.Time
	for i, at := range []time.Time{now, now.Add(-time.Hour), now.Add(time.Second), now} {
		p := w.publish("alice", "bob", fmt.Sprint(i))
		if err := l.Append(t.Context(), &postbox.Batch{Now: at, Publishes: []*postbox.Publish{p}}); err != nil {
			t.Fatal(err)
		}
		if p.Message.SentAt.Before(last) || at.Truncate(time.Millisecond).After(p.Message.SentAt) {
			t.Errorf("%v, after %v, at %v", p.Message.SentAt, last, at)
		}
		last = p.Message.SentAt
		w.agree(p)
	}
	// Somebody's own SQL knows microseconds, of which nothing is remembered here.
	w.exec(`UPDATE postbox.messages SET sent_at = sent_at + interval '900 microseconds' WHERE seq = 4`)
	p := w.publish("alice", "bob", "after microseconds")
	if err := w.laneOf(w.open(w.url), 1).Append(t.Context(), &postbox.Batch{Now: now, Publishes: []*postbox.Publish{p}}); err != nil {
		t.Fatal(err)
	}
	if want := last.Add(time.Millisecond); !p.Message.SentAt.Equal(want) {
		t.Errorf("%v after %v and 900 µs, want %v", p.Message.SentAt, last, want)
	}
	w.agree(p)
	w.audit(5)
}

// What the database refuses leaves no trace, and the lane goes on.
func TestAppendOfABadBatchStoresNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	for what, spoil := range map[string]func(*postbox.Publish){
		"a text with U+0000":        func(p *postbox.Publish) { p.Message.Device = "a\x00" },
		"a text that is not UTF-8":  func(p *postbox.Publish) { p.Message.ContentType = "\xff" },
		"a conversation not there":  func(p *postbox.Publish) { p.Message.Conversation = 1 << 40 },
		"a sender not there":        func(p *postbox.Publish) { p.Message.Sender = 1 << 40 },
		"a recipient not there":     func(p *postbox.Publish) { p.Recipients = []postbox.UserID{1 << 40} },
		"one recipient not there":   func(p *postbox.Publish) { p.Recipients = append(p.Recipients, 1<<40) },
		"a packet id out of bounds": func(p *postbox.Publish) { p.Message.Ref = strings.Repeat("\x00", 9) },
	} {
		good, bad := keyed(w.publish("alice", "bob", "good"), "k"), w.publish("alice", "bob", "bad")
		spoil(bad)
		err := l.Append(t.Context(), batch(good, bad))
		if err == nil || errors.Is(err, postbox.ErrUnavailable) || errors.Is(err, errFenced) {
			t.Errorf("%s: %v", what, err)
		}
		if strings.Contains(err.Error(), "good") {
			t.Errorf("%s: the error shows a body: %v", what, err)
		}
		w.audit(0)
	}
	p := keyed(w.publish("alice", "bob", "good"), "k")
	w.append(l, p)
	w.agree(p)
	w.audit(1)
}

// Two lanes append for the same users, in every direction: nobody waits in a
// ring, and no number is missing or given twice.
func TestAppendFromTwoLanes(t *testing.T) {
	t.Parallel()
	names := []postbox.User{"alice", "bob", "carol", "dave"}
	w := newWorld(t, names...)
	var pairs []store.Pair
	for _, a := range names {
		for _, b := range names {
			pairs = append(pairs, store.Pair{w.ids[a], w.ids[b]})
		}
	}
	made, err := w.store.MakeConversations(t.Context(), pairs)
	if err != nil {
		t.Fatal(err)
	}
	const rounds, size = 40, 25
	all := make([][]*postbox.Publish, 2)
	var work sync.WaitGroup
	for id := range all {
		l := w.lane(id)
		random := rand.New(rand.NewPCG(uint64(id), 1))
		work.Go(func() {
			for range rounds {
				var some []*postbox.Publish
				for range size {
					i := random.IntN(len(made))
					p := w.draft(made[i], names[i/len(names)], names[i%len(names)], "x")
					if random.IntN(4) == 0 {
						p.Message.Key = fmt.Sprint(id, len(all[id]), len(some))
					}
					some = append(some, p)
				}
				if err := w.persist(l, batch(some...)); err != nil {
					t.Error(err)
					return
				}
				all[id] = append(all[id], some...)
			}
		})
	}
	work.Wait()
	w.audit(2 * rounds * size)
	w.agree(all[0][:50]...)
	w.agree(all[1][:50]...)
}

// A backup or a long report does not stop the senders.
func TestAppendBesideAnOpenTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	w.append(l, w.publish("alice", "bob", "before"))
	tx, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`,
		`SELECT 1 FROM postbox.users, postbox.logs, postbox.messages, postbox.inbox, postbox.lanes`,
		`SELECT 1 FROM postbox.users FOR NO KEY UPDATE`,
		`SELECT 1 FROM postbox.logs FOR KEY SHARE`,
	} {
		if _, err := tx.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		w.append(l, w.publish("alice", "bob", "beside"))
	}
	var seen int
	if err := tx.Get(&seen, `SELECT count(*) FROM postbox.messages`); err != nil || seen != 1 {
		t.Errorf("the open transaction sees %d messages, %v", seen, err)
	}
	w.audit(21)
}
