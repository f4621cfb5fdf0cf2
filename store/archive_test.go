package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// place finds a direct conversation.
func (w *world) place(user, with postbox.User) postbox.Place {
	w.t.Helper()
	p, err := w.store.Place(w.t.Context(), w.ids[user], with, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// page reads a page and returns the seqs of its messages.
func (w *world) page(p postbox.Place, r postbox.PageRequest) ([]postbox.Seq, postbox.Page) {
	w.t.Helper()
	page, err := w.store.Page(w.t.Context(), p, r)
	if err != nil {
		w.t.Fatal(err)
	}
	seqs := []postbox.Seq{}
	for _, m := range page.Messages {
		seqs = append(seqs, m.Seq)
	}
	return seqs, page
}

func bySeq(n postbox.Seq) postbox.Bound { return postbox.Bound{Seq: n, Set: true} }

func byID(m *postbox.Message) postbox.Bound { return postbox.Bound{ID: m.ID, Set: true} }

func byTime(t time.Time) postbox.Bound { return postbox.Bound{Time: t, Set: true} }

// A page shows the messages as they are now, and both sides by name.
func TestPageShowsThePresent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	ab, ba, gone := keyed(w.publish("alice", "bob", "hello"), "k-1"), w.publish("bob", "alice", "hi"), w.publish("bob", "alice", "secret")
	ab.Message.Device, ab.Message.Ref, ab.Message.ContentType, ab.Expiry = "phone", `{"a":1}`, "text/markdown", 60
	w.append(l, ab, ba, gone)
	w.exec(`UPDATE postbox.messages SET body = 'hi!', edited_at = sent_at + interval '1 second' WHERE seq = 2`)
	w.exec(`UPDATE postbox.messages SET retracted_at = sent_at + interval '2 seconds' WHERE seq = 3`)
	hello, hi, retracted := *ab.Message, *ba.Message, *gone.Message
	hello.ExpiresAt = hello.SentAt.Add(time.Minute)
	hi.Body, hi.EditedAt = []byte("hi!"), hi.SentAt.Add(time.Second)
	retracted.Body, retracted.RetractedAt = nil, retracted.SentAt.Add(2*time.Second)
	for _, user := range []postbox.User{"alice", "bob"} {
		with := map[postbox.User]postbox.User{"alice": "bob", "bob": "alice"}[user]
		got, err := w.store.Page(t.Context(), w.place(user, with), postbox.PageRequest{Limit: 10})
		want := postbox.Page{Messages: []*postbox.Message{&hello, &hi, &retracted}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", user, err, diff)
		}
	}
}

func TestPageBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	var sent []*postbox.Message
	for i := range 9 {
		p := w.publish("alice", "bob", fmt.Sprint(i+1))
		w.append(l, p)
		sent = append(sent, p.Message)
	}
	// 4, 5 and 6 were sent at one moment; 8 was taken away.
	w.exec(`UPDATE postbox.messages SET sent_at = '2026-01-01T00:00:00Z'::timestamptz + interval '1 second' * CASE WHEN seq IN (4, 5, 6) THEN 5 ELSE seq END`)
	w.exec(`DELETE FROM postbox.messages WHERE seq = 8`)
	at := func(s float64) postbox.Bound {
		return byTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second))))
	}
	p := w.place("alice", "bob")
	for name, test := range map[string]struct {
		r             postbox.PageRequest
		want          []postbox.Seq
		before, after bool
	}{
		"latest":                     {postbox.PageRequest{Limit: 3}, []postbox.Seq{6, 7, 9}, true, false},
		"all":                        {postbox.PageRequest{Limit: 8}, []postbox.Seq{1, 2, 3, 4, 5, 6, 7, 9}, false, false},
		"before":                     {postbox.PageRequest{Before: bySeq(4), Limit: 2}, []postbox.Seq{2, 3}, true, true},
		"before the first":           {postbox.PageRequest{Before: bySeq(1), Limit: 2}, []postbox.Seq{}, false, true},
		"before all":                 {postbox.PageRequest{Before: bySeq(1 << 62), Limit: 1}, []postbox.Seq{9}, true, false},
		"before a hole":              {postbox.PageRequest{Before: bySeq(8), Limit: 1}, []postbox.Seq{7}, true, true},
		"before the largest":         {postbox.PageRequest{Before: bySeq(1<<63 - 1), Limit: 1}, []postbox.Seq{9}, true, false},
		"before nothing":             {postbox.PageRequest{Before: bySeq(-5), Limit: 1}, []postbox.Seq{}, false, true},
		"after":                      {postbox.PageRequest{After: bySeq(4), Limit: 2}, []postbox.Seq{5, 6}, true, true},
		"after nothing":              {postbox.PageRequest{After: bySeq(0), Limit: 1}, []postbox.Seq{1}, false, true},
		"after a hole":               {postbox.PageRequest{After: bySeq(7), Limit: 2}, []postbox.Seq{9}, true, false},
		"after the last":             {postbox.PageRequest{After: bySeq(9), Limit: 2}, []postbox.Seq{}, true, false},
		"after the largest":          {postbox.PageRequest{After: bySeq(1<<63 - 1), Limit: 2}, []postbox.Seq{}, true, false},
		"between":                    {postbox.PageRequest{After: bySeq(2), Before: bySeq(6), Limit: 9}, []postbox.Seq{3, 4, 5}, true, true},
		"between, cut":               {postbox.PageRequest{After: bySeq(2), Before: bySeq(6), Limit: 2}, []postbox.Seq{3, 4}, true, true},
		"between, all":               {postbox.PageRequest{After: bySeq(0), Before: bySeq(10), Limit: 8}, []postbox.Seq{1, 2, 3, 4, 5, 6, 7, 9}, false, false},
		"between neighbours":         {postbox.PageRequest{After: bySeq(2), Before: bySeq(3), Limit: 2}, []postbox.Seq{}, true, true},
		"between in a hole":          {postbox.PageRequest{After: bySeq(7), Before: bySeq(9), Limit: 2}, []postbox.Seq{}, true, true},
		"bounds that crossed":        {postbox.PageRequest{After: bySeq(6), Before: bySeq(3), Limit: 2}, []postbox.Seq{}, true, true},
		"around":                     {postbox.PageRequest{Around: bySeq(4), Limit: 3}, []postbox.Seq{3, 4, 5}, true, true},
		"around one":                 {postbox.PageRequest{Around: bySeq(4), Limit: 1}, []postbox.Seq{4}, true, true},
		"around two":                 {postbox.PageRequest{Around: bySeq(4), Limit: 2}, []postbox.Seq{3, 4}, true, true},
		"around the first":           {postbox.PageRequest{Around: bySeq(1), Limit: 4}, []postbox.Seq{1, 2}, false, true},
		"around the last":            {postbox.PageRequest{Around: bySeq(9), Limit: 4}, []postbox.Seq{6, 7, 9}, true, false},
		"before an id":               {postbox.PageRequest{Before: byID(sent[3]), Limit: 2}, []postbox.Seq{2, 3}, true, true},
		"after an id":                {postbox.PageRequest{After: byID(sent[3]), Limit: 2}, []postbox.Seq{5, 6}, true, true},
		"around an id":               {postbox.PageRequest{Around: byID(sent[6]), Limit: 2}, []postbox.Seq{6, 7}, true, true},
		"before a time":              {postbox.PageRequest{Before: at(5), Limit: 2}, []postbox.Seq{2, 3}, true, true},
		"after a time":               {postbox.PageRequest{After: at(5), Limit: 2}, []postbox.Seq{7, 9}, true, false},
		"before a later time":        {postbox.PageRequest{Before: at(5.5), Limit: 4}, []postbox.Seq{3, 4, 5, 6}, true, true},
		"after an early time":        {postbox.PageRequest{After: at(4.5), Limit: 4}, []postbox.Seq{4, 5, 6, 7}, true, true},
		"a moment too many":          {postbox.PageRequest{Before: at(8), Limit: 3}, []postbox.Seq{7}, true, true},
		"a moment too many, upwards": {postbox.PageRequest{After: at(1), Limit: 4}, []postbox.Seq{2, 3}, true, true},
		"a moment is all":            {postbox.PageRequest{Before: at(6), Limit: 1}, []postbox.Seq{4, 5, 6}, true, true},
		"a moment is all, upwards":   {postbox.PageRequest{After: at(3), Limit: 1}, []postbox.Seq{4, 5, 6}, true, true},
		"between times":              {postbox.PageRequest{After: at(1), Before: at(7), Limit: 9}, []postbox.Seq{2, 3, 4, 5, 6}, true, true},
		"before all times":           {postbox.PageRequest{Before: at(0), Limit: 2}, []postbox.Seq{}, false, true},
		"after all times":            {postbox.PageRequest{After: at(9), Limit: 2}, []postbox.Seq{}, true, false},
		"around a time":              {postbox.PageRequest{Around: at(6.5), Limit: 2}, []postbox.Seq{4, 5, 6, 7}, true, true},
		"around a late time":         {postbox.PageRequest{Around: at(100), Limit: 2}, []postbox.Seq{7, 9}, true, false},
		"around a moment":            {postbox.PageRequest{Around: at(5), Limit: 2}, []postbox.Seq{3, 4, 5, 6}, true, true},
		"around an old time":         {postbox.PageRequest{Around: at(-100), Limit: 2}, []postbox.Seq{1}, false, true},
	} {
		got, page := w.page(p, test.r)
		if diff := cmp.Diff(test.want, got); diff != "" || page.HasBefore != test.before || page.HasAfter != test.after {
			t.Errorf("%s: before %v, after %v, -want +got:\n%s", name, page.HasBefore, page.HasAfter, diff)
		}
	}
}

// What a user may not see is not there, whoever asks how.
func TestPlacesOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol", "gone")
	l := w.lane(0)
	ab, bc, note, ag := w.publish("alice", "bob", "x"), w.publish("bob", "carol", "x"), w.publish("alice", "alice", "x"), w.publish("alice", "gone", "x")
	w.append(l, ab, bc, note, ag)
	w.exec(`UPDATE postbox.users SET erased_at = now() WHERE name = 'gone'`)
	ctx, alice := t.Context(), w.ids["alice"]

	if _, err := w.store.Place(ctx, alice, "nobody", ""); !errors.Is(err, postbox.ErrNotFound) {
		t.Error(err)
	}
	if _, err := w.store.Place(ctx, w.ids["bob"], "gone", ""); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a conversation with one who was erased, and never had one: %v", err)
	}
	if _, err := w.store.Place(ctx, alice, "", "dev"); !errors.Is(err, postbox.ErrNotFound) {
		t.Error(err)
	}
	if got, _ := w.page(w.place("alice", "gone"), postbox.PageRequest{Limit: 5}); len(got) != 1 {
		t.Errorf("a conversation with one who was erased: %v", got)
	}
	empty := w.place("alice", "carol")
	if got, page := w.page(empty, postbox.PageRequest{Limit: 5}); empty.Conversation != 0 || len(got) != 0 || page.HasBefore || page.HasAfter {
		t.Errorf("nothing was written: %+v, %v, %+v", empty, got, page)
	}
	for _, p := range []postbox.Place{w.place("alice", "bob"), empty} {
		for _, r := range []postbox.PageRequest{{Before: byID(bc.Message)}, {After: byID(bc.Message)}, {Around: byID(bc.Message)}} {
			if _, err := w.store.Page(ctx, p, r); !errors.Is(err, postbox.ErrNotFound) {
				t.Errorf("another conversation's message as bound: %v", err)
			}
		}
	}
	// It is found once there is one.
	w.append(l, w.publish("carol", "alice", "first"))
	if got, _ := w.page(w.place("alice", "carol"), postbox.PageRequest{Limit: 5}); len(got) != 1 {
		t.Errorf("after the first message: %v", got)
	}
}

// Where a conversation is, is looked up once for both who write in it.
func TestPlaceIsKnownToBoth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.append(w.lane(0), w.publish("alice", "bob", "x"), w.publish("alice", "alice", "x"))
	want := w.place("bob", "alice")
	other := w.open(w.url) // one that has not been asked
	for _, with := range []postbox.User{"bob", "alice"} {
		if _, err := other.Place(t.Context(), w.ids["alice"], with, ""); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := w.store.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()
	if _, err := lock.Exec(`LOCK TABLE postbox.conversations`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := other.Place(ctx, w.ids["bob"], "alice", "")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -looked up +known:\n%s", err, diff)
	}
}

// room makes a room of the test's own with messages; each stay is a name, the
// last seq before it and, unless zero, the last seq of it.
type stay struct {
	user         postbox.User
	joined, left int
}

func (w *world) room(name, history string, messages int, stays ...stay) postbox.ConversationID {
	w.t.Helper()
	id := w.number(`INSERT INTO postbox.conversations (room, history) VALUES ($1, $2) RETURNING id`, name, history)
	w.exec(`INSERT INTO postbox.logs (id) VALUES ($1)`, id)
	for _, s := range stays {
		w.exec(`INSERT INTO postbox.memberships (conversation_id, user_id, role, joined_seq, left_seq) VALUES ($1, $2, 'member', $3, NULLIF($4, 0))`,
			id, w.ids[s.user], s.joined, s.left)
	}
	w.say(id, stays[0].user, messages)
	return postbox.ConversationID(id)
}

// say writes messages to a room, past the inboxes.
func (w *world) say(room int, from postbox.User, n int) {
	w.t.Helper()
	w.exec(`INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, sent_at, id, digest, body)
		SELECT $1, h.head + i, $2, 0, clock_timestamp(), gen_random_uuid(), '', 'x'
		  FROM postbox.heads h, generate_series(1, $3::int) AS i WHERE h.id = $1`, room, w.ids[from], n)
}

// A room shows the stretches of a membership, or all while one is in it.
func TestPagesOfRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol", "dave")
	w.room("closed", "joined", 20, stay{"alice", 0, 0}, stay{"bob", 2, 5}, stay{"bob", 9, 9}, stay{"bob", 12, 15}, stay{"bob", 18, 0}, stay{"carol", 3, 4})
	w.room("open", "all", 6, stay{"alice", 0, 0}, stay{"bob", 3, 0}, stay{"carol", 1, 4})
	rooms := func(user postbox.User, room postbox.Room) postbox.Place {
		p, err := w.store.Place(t.Context(), w.ids[user], "", room)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, test := range map[string]struct {
		p             postbox.Place
		r             postbox.PageRequest
		want          []postbox.Seq
		before, after bool
	}{
		"all of a member's":        {rooms("bob", "closed"), postbox.PageRequest{Limit: 50}, []postbox.Seq{3, 4, 5, 13, 14, 15, 19, 20}, false, false},
		"the latest":               {rooms("bob", "closed"), postbox.PageRequest{Limit: 3}, []postbox.Seq{15, 19, 20}, true, false},
		"a whole stretch":          {rooms("bob", "closed"), postbox.PageRequest{Limit: 2}, []postbox.Seq{19, 20}, true, false},
		"before, between stays":    {rooms("bob", "closed"), postbox.PageRequest{Before: bySeq(11), Limit: 2}, []postbox.Seq{4, 5}, true, true},
		"after, between stays":     {rooms("bob", "closed"), postbox.PageRequest{After: bySeq(8), Limit: 4}, []postbox.Seq{13, 14, 15, 19}, true, true},
		"after the first stay":     {rooms("bob", "closed"), postbox.PageRequest{After: bySeq(2), Limit: 3}, []postbox.Seq{3, 4, 5}, false, true},
		"between":                  {rooms("bob", "closed"), postbox.PageRequest{After: bySeq(4), Before: bySeq(15), Limit: 9}, []postbox.Seq{5, 13, 14}, true, true},
		"around":                   {rooms("bob", "closed"), postbox.PageRequest{Around: bySeq(13), Limit: 6}, []postbox.Seq{3, 4, 5, 13, 14, 15}, false, true},
		"around, between stays":    {rooms("bob", "closed"), postbox.PageRequest{Around: bySeq(7), Limit: 4}, []postbox.Seq{4, 5, 13, 14}, true, true},
		"one who left":             {rooms("carol", "closed"), postbox.PageRequest{Limit: 9}, []postbox.Seq{4}, false, false},
		"open to a member":         {rooms("bob", "open"), postbox.PageRequest{Limit: 9}, []postbox.Seq{1, 2, 3, 4, 5, 6}, false, false},
		"not to one who left":      {rooms("carol", "open"), postbox.PageRequest{Limit: 9}, []postbox.Seq{2, 3, 4}, false, false},
		"nothing of what is after": {rooms("carol", "open"), postbox.PageRequest{After: bySeq(4), Limit: 9}, []postbox.Seq{}, true, false},
	} {
		got, page := w.page(test.p, test.r)
		if diff := cmp.Diff(test.want, got); diff != "" || page.HasBefore != test.before || page.HasAfter != test.after {
			t.Errorf("%s: before %v, after %v, -want +got:\n%s", name, page.HasBefore, page.HasAfter, diff)
		}
		for _, m := range page.Messages {
			if m.From != "alice" || m.To != "" || m.Room != test.p.Room {
				t.Errorf("%s: %+v", name, m)
			}
		}
	}
	hidden := w.text(`SELECT m.id FROM postbox.messages m JOIN postbox.conversations c ON c.id = m.conversation_id WHERE room = 'closed' AND seq = 7`)
	id, err := postbox.ParseMessageID(hidden)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Page(t.Context(), rooms("bob", "closed"), postbox.PageRequest{Before: postbox.Bound{ID: id, Set: true}, Limit: 1}); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a bound between the stays: %v", err)
	}
	if _, err := w.store.Place(t.Context(), w.ids["dave"], "", "open"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a room that one was never in: %v", err)
	}
	w.exec(`UPDATE postbox.conversations SET deleted_at = now() WHERE room = 'open'`)
	if _, err := w.store.Place(t.Context(), w.ids["bob"], "", "open"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a room that is no more: %v", err)
	}
}

// text scans one text.
func (w *world) text(query string, args ...any) string {
	w.t.Helper()
	var s string
	if err := w.store.DB().Get(&s, query, args...); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// A page holds about as many bytes as it may, one message at least, and says
// that there is more.
func TestPageOfHistoryIsBoundInBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.append(w.lane(0), w.publish("alice", "bob", "1"))
	c := w.place("alice", "bob")
	w.exec(`INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, sent_at, id, digest, body)
		SELECT $1, i, $2, i, now() + interval '1 day', gen_random_uuid(), '', convert_to(repeat('x', CASE WHEN i = 30 THEN 2 << 20 ELSE 100 << 10 END), 'UTF8')
		  FROM generate_series(2, 40) AS i`, c.Conversation, w.ids["alice"])
	for name, test := range map[string]struct {
		r             postbox.PageRequest
		first, last   postbox.Seq
		before, after bool
	}{
		"latest":          {postbox.PageRequest{Limit: 500}, 30, 40, true, false},
		"before a large":  {postbox.PageRequest{Before: bySeq(30), Limit: 500}, 19, 29, true, true},
		"before, large":   {postbox.PageRequest{Before: bySeq(31), Limit: 500}, 30, 30, true, true},
		"after":           {postbox.PageRequest{After: bySeq(1), Limit: 500}, 2, 12, true, true},
		"after, large":    {postbox.PageRequest{After: bySeq(29), Limit: 500}, 30, 30, true, true},
		"around a large":  {postbox.PageRequest{Around: bySeq(30), Limit: 10}, 25, 30, true, true},
		"around, to both": {postbox.PageRequest{Around: bySeq(15), Limit: 500}, 4, 25, true, true},
	} {
		seqs, page := w.page(c, test.r)
		if len(seqs) == 0 || seqs[0] != test.first || seqs[len(seqs)-1] != test.last || len(seqs) != int(test.last-test.first)+1 ||
			page.HasBefore != test.before || page.HasAfter != test.after {
			t.Errorf("%s: %v, before %v, after %v", name, seqs, page.HasBefore, page.HasAfter)
		}
	}
}
