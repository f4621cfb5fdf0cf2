package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

var longAgo = time.Date(2019, 5, 6, 7, 8, 9, 10_000_000, time.UTC)

func (w *world) importer() *store.Import {
	w.t.Helper()
	im, err := w.store.OpenImport(true)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := im.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return im
}

// old is a message from elsewhere, n seconds after longAgo.
func (w *world) old(from, to postbox.User, n int, read bool) store.ImportMessage {
	body := []byte(fmt.Sprint("old ", n))
	return store.ImportMessage{
		Sender: w.ids[from], Recipient: w.ids[to], SentAt: longAgo.Add(time.Duration(n) * time.Second), Key: fmt.Sprint("import:x:", n),
		Body: body, Digest: postbox.DigestOf("import", "", "", 0, body), Read: read,
	}
}

func (w *world) appendOld(im *store.Import, want store.ImportCount, all ...store.ImportMessage) {
	w.t.Helper()
	got, err := im.Append(w.t.Context(), all)
	if err != nil || got != want {
		w.t.Errorf("append: %+v, %v, want %+v", got, err, want)
	}
}

// What is imported moves its senders' markers for good, as what is sent does.
func TestImportMovesTheMarkersOfSenders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	im := w.importer()
	all := []store.ImportMessage{w.old("bob", "alice", 0, false)}
	for n := 1; n < 1700; n++ {
		all = append(all, w.old("alice", "bob", n, false))
	}
	all[42].Sender, all[42].Recipient = all[42].Recipient, all[42].Sender
	for len(all) > 0 {
		n := min(len(all), 300)
		w.appendOld(im, store.ImportCount{Added: n}, all[:n]...)
		all = all[n:]
	}
	const kept = `SELECT k.read_seq FROM postbox.positions k WHERE k.user_id = $1`
	if got := w.number(kept, w.ids["bob"]); got != 43 {
		t.Errorf("bob has read up to %d, want 43", got)
	}
}

// Imported messages have numbers like all, their own times, and are read as far as
// they were; given again they are there.
func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	im := w.importer()
	all := []store.ImportMessage{
		w.old("alice", "bob", 1, true), w.old("bob", "alice", 2, true), w.old("carol", "bob", 3, false),
		w.old("alice", "alice", 4, false), w.old("bob", "alice", 5, false),
	}
	w.appendOld(im, store.ImportCount{Added: 5}, all...)
	w.audit(5)
	w.appendOld(im, store.ImportCount{There: 5}, all...)
	more := w.old("bob", "alice", 6, false)
	w.appendOld(im, store.ImportCount{Added: 1, There: 3}, all[1], more, more, all[4])
	w.audit(6)
	if diff := cmp.Diff([]string{"old 1", "old 2", "old 4", "old 5", "old 6"}, bodies(w.entries("alice"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i, e := range w.entries("bob") {
		if want := []int{1, 2, 3, 5, 6}[i]; !e.Message.SentAt.Equal(longAgo.Add(time.Duration(want) * time.Second)) {
			t.Errorf("old %d was sent at %v", want, e.Message.SentAt)
		}
	}
	unread := func(user postbox.User) (n int) {
		t.Helper()
		places, err := w.store.Conversations(t.Context(), w.ids[user], postbox.ListBound{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range places {
			n += p.Unread
		}
		return n
	}
	// alice has sent nothing after 2 to bob, who has not read what carol wrote.
	if a, b := unread("alice"), unread("bob"); a != 2 || b != 1 {
		t.Errorf("alice has %d unread messages, bob %d: want 2 and 1", a, b)
	}
	// What was read there meanwhile is read here.
	more.Read = true
	w.appendOld(im, store.ImportCount{There: 1}, more)
	if a := unread("alice"); a != 0 {
		t.Errorf("alice has %d unread messages, want none", a)
	}
	// Nobody is told of it.
	if left, err := w.store.Unannounced(t.Context(), 10); err != nil || len(left) > 0 {
		t.Errorf("%d markers to tell of, %v", len(left), err)
	}
	if n := w.number(`SELECT sum(n) FROM postbox.search_queue q, unnest(q.counts) AS n`); n != 6 {
		t.Errorf("%d messages wait for the indexer, want 6", n)
	}
}

// Beside younger messages the time does not go back, and that is foreseen; so is
// that a message has changed.
func TestImportLateAndChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	im := w.importer()
	first := w.old("alice", "bob", 1, false)
	w.appendOld(im, store.ImportCount{Added: 1}, first)
	live := w.publish("bob", "alice", "live")
	w.append(w.lane(0), live)
	changed := first
	changed.Digest[0]++
	all := []store.ImportMessage{changed, w.old("alice", "bob", 2, false), w.old("bob", "carol", 3, false)}
	found, err := im.Foresee(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	want := []store.ImportFound{{Conversation: live.Message.Conversation, Seq: 1, Changed: true}, {Late: true}, {}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	careful, err := w.store.OpenImport(false)
	if err != nil {
		t.Fatal(err)
	}
	defer careful.Close()
	if _, err := careful.Append(t.Context(), all); !errors.Is(err, store.ErrLate) {
		t.Errorf("a late message that is not to be stored: %v", err)
	}
	w.audit(2)
	all[1].Read = true
	w.appendOld(im, store.ImportCount{Added: 2, There: 1, Changed: 1, Late: 1}, all...)
	w.audit(4)
	places, err := w.store.Conversations(t.Context(), w.ids["bob"], postbox.ListBound{}, 10)
	if err != nil || len(places) != 2 || places[0].Unread+places[1].Unread != 1 {
		t.Errorf("bob has read up to a late message: %+v, %v", places, err)
	}
	if at := w.entries("alice")[2].Message.SentAt; !at.Equal(live.Message.SentAt) {
		t.Errorf("a late message was sent at %v, want %v", at, live.Message.SentAt)
	}
}

// An import and two lanes append to the same logs: nobody waits in a ring, no
// number is missing or given twice.
func TestImportBesideLanes(t *testing.T) {
	t.Parallel()
	names := []postbox.User{"alice", "bob", "carol", "dave"}
	w := newWorld(t, names...)
	const rounds, size = 15, 40
	var work sync.WaitGroup
	for id := range 2 {
		l := w.lane(id)
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(id), 1))
			for range rounds {
				var some []*postbox.Publish
				for range size {
					some = append(some, w.publish(names[random.IntN(4)], names[random.IntN(4)], "live"))
				}
				if err := w.persist(l, batch(some...)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	im := w.importer()
	work.Go(func() {
		random := rand.New(rand.NewPCG(2, 1))
		for round := range rounds {
			var some []store.ImportMessage
			for i := range size {
				some = append(some, w.old(names[random.IntN(4)], names[random.IntN(4)], round*size+i, true))
			}
			_, err := im.Append(t.Context(), some)
			for tries := 0; errors.Is(err, postbox.ErrUnavailable) && tries < 100; tries++ {
				_, err = im.Append(t.Context(), some)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	work.Wait()
	w.audit(3 * rounds * size)
}

// Accounts are made once, by the key that they have elsewhere; they have a password
// when they are opened, and keep what was changed since.
func TestImportAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "carol", "erin")
	if _, err := w.store.CloseAccount(t.Context(), "erin"); err != nil {
		t.Fatal(err)
	}
	users := []store.ImportUser{
		{Ref: "1", Name: "alice", DisplayName: "Alice", PasswordHash: "hash 1"}, {Ref: "2", Name: "bob", PasswordHash: "hash 2"},
		{Ref: "3", Name: "carol", PasswordHash: "hash 3"}, {Ref: "4", Name: "erin"},
	}
	states := func() []store.ImportState {
		t.Helper()
		all, err := w.store.ImportStates(t.Context(), "app", users)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if diff := cmp.Diff([]store.ImportState{{}, {}, {Taken: w.ids["carol"]}, {Reserved: true}}, states()); diff != "" {
		t.Errorf("before: -want +got:\n%s", diff)
	}
	if _, err := w.store.AddImported(t.Context(), "app", users[:3]); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.users WHERE erased_at IS NULL`); n != 1 {
		t.Errorf("%d accounts after an error, want 1", n)
	}
	users[2].Existing = true
	ids, err := w.store.AddImported(t.Context(), "app", users[:3])
	if err != nil || len(ids) != 3 || ids[2] != w.ids["carol"] {
		t.Fatalf("%v, %v", ids, err)
	}
	again, err := w.store.AddImported(t.Context(), "app", users[:3])
	if diff := cmp.Diff(ids, again); err != nil || diff != "" {
		t.Errorf("again: %v, -want +got:\n%s", err, diff)
	}
	want := []store.ImportState{{Account: ids[0], AccountName: "alice"}, {Account: ids[1], AccountName: "bob"}, {Account: ids[2], AccountName: "carol"}, {Reserved: true}}
	if diff := cmp.Diff(want, states()); diff != "" {
		t.Errorf("after: -want +got:\n%s", diff)
	}

	hash := func(name postbox.User) string {
		t.Helper()
		u, err := w.store.UserByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return u.PasswordHash
	}
	if hash("alice") != "" {
		t.Error("an account that is not open has a password")
	}
	w.exec(`UPDATE postbox.users SET password_hash = 'new' WHERE name = 'bob'`) // by an administrator
	for range 2 {
		if err := w.store.OpenImported(t.Context(), "app", users[:3]); err != nil {
			t.Fatal(err)
		}
		if a, b, c := hash("alice"), hash("bob"), hash("carol"); a != "hash 1" || b != "new" || c != "" {
			t.Errorf("opened: %q, %q, %q", a, b, c)
		}
		users[0].PasswordHash = "another"
	}

	// Of who was erased, nothing is known.
	if _, err := w.store.CloseAccount(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if got := states()[0]; got != (store.ImportState{Reserved: true}) {
		t.Errorf("an erased account: %+v", got)
	}
	if n := w.number(`SELECT count(*) FROM postbox.imported_users WHERE user_id = $1`, ids[0]); n != 0 {
		t.Error("an erased account is still known by its key elsewhere")
	}
}

// Two imports from one source do not run at once.
func TestHoldImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release, err := w.store.HoldImport(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.HoldImport(t.Context(), "app"); !errors.Is(err, store.ErrImporting) {
		t.Errorf("a second one: %v", err)
	}
	other, err := w.store.HoldImport(t.Context(), "another")
	if err != nil {
		t.Fatal(err)
	}
	other()
	release()
	if release, err = w.store.HoldImport(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	release()
}

// What was imported has the time of long ago and came just now: it is no sign that
// what comes before it was there in an earlier epoch.
func TestImportAfterAnEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.append(w.lane(0), w.publish("alice", "bob", "before"))
	w.exec(`UPDATE postbox.messages SET sent_at = now() - interval '1 hour'`)
	w.exec(`INSERT INTO postbox.epochs (epoch, system_identifier, timeline, database_oid, table_oid, began_at) VALUES
		('earlier', '', 1, 1, 1, now() - interval '2 hours'), ('later', '', 1, 1, 1, now() - interval '30 minutes')`)
	w.append(w.lane(0), w.publish("alice", "bob", "in the new one"))
	w.appendOld(w.importer(), store.ImportCount{Added: 2}, w.old("bob", "bob", 1, false), w.old("bob", "bob", 2, false))
	at, known, err := w.store.PositionSince(t.Context(), w.ids["bob"], postbox.Position{Epoch: "earlier", Seq: 4})
	if at != 1 || !known || err != nil {
		t.Errorf("what a device has of the earlier epoch ends at %d, %t, %v: want 1", at, known, err)
	}
}
