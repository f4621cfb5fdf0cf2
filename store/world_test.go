package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"postbox"
	"postbox/internal/pgtest"
	"postbox/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var errFenced = errors.New("fenced")

// world is a database with a few users, and a store on it.
type world struct {
	t     testing.TB
	url   string
	store *store.Store
	ids   map[postbox.User]postbox.UserID
}

// newWorld makes a world in which searches see the index only: what is not in it yet
// would hide its faults. See seesAll.
func newWorld(t testing.TB, names ...postbox.User) *world {
	t.Helper()
	w := &world{t: t, url: pgtest.New(t), ids: make(map[postbox.User]postbox.UserID)}
	w.store = w.open(w.url)
	w.exec(`
		CREATE FUNCTION public.cover() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.covered := '9999-01-01'; RETURN NEW; END $$;
		CREATE TRIGGER cover BEFORE UPDATE ON postbox.search_state FOR EACH ROW EXECUTE FUNCTION public.cover();
		UPDATE postbox.search_state SET covered = '9999-01-01'`)
	for _, name := range names {
		id, err := w.store.AddUser(t.Context(), name, "", false)
		if err != nil {
			t.Fatal(err)
		}
		w.ids[name] = id
	}
	return w
}

// seesAll makes searches see what is not in the index yet, as they do.
func (w *world) seesAll() {
	w.t.Helper()
	w.exec(`DROP TRIGGER cover ON postbox.search_state; UPDATE postbox.search_state SET covered = clock_timestamp()`)
}

// open opens a store, which is closed at the end of the test.
func (w *world) open(url string) *store.Store {
	w.t.Helper()
	s, err := store.Open(store.Options{URL: url})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return s
}

func (w *world) lane(id int) *store.Lane { w.t.Helper(); return w.laneOf(w.store, id) }

// laneOf opens a lane, which is closed at the end of the test.
func (w *world) laneOf(s *store.Store, id int) *store.Lane {
	w.t.Helper()
	l, err := s.OpenLane(w.t.Context(), id, errFenced)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() }) // its connection may have been cut
	return l
}

// publish is a message from one user to another, with one recipient, or none
// when it is to oneself.
func (w *world) publish(from, to postbox.User, body string) *postbox.Publish {
	w.t.Helper()
	made, err := w.store.MakeConversations(w.t.Context(), []store.Pair{{w.ids[from], w.ids[to]}})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.draft(made[0], from, to, body)
}

func (w *world) draft(c postbox.ConversationID, from, to postbox.User, body string) *postbox.Publish {
	p := &postbox.Publish{
		Message: &postbox.Message{
			ID: newID(), Conversation: c, Sender: w.ids[from], From: from, To: to, Body: []byte(body),
		},
		Digest: postbox.DigestOf("inbox/"+string(to), "", "", 0, []byte(body)),
	}
	if from != to {
		p.Recipients = []postbox.UserID{w.ids[to]}
	}
	return p
}

// keyed gives a publish an idempotency key.
func keyed(p *postbox.Publish, key string) *postbox.Publish {
	p.Message.Key = key
	return p
}

func newID() postbox.MessageID { return postbox.MessageID(uuid.Must(uuid.NewV7())) }

func batch(publishes ...*postbox.Publish) *postbox.Batch {
	return &postbox.Batch{Now: time.Now(), Publishes: publishes}
}

// append commits publishes and fails the test when that does not work.
func (w *world) append(l *store.Lane, publishes ...*postbox.Publish) {
	w.t.Helper()
	if err := l.Append(w.t.Context(), batch(publishes...)); err != nil {
		w.t.Fatal(err)
	}
}

// persist calls Append as a lane does: again with the same batch while the
// database is away.
func (w *world) persist(l *store.Lane, b *postbox.Batch) error {
	for times := 0; ; times++ {
		err := l.Append(w.t.Context(), b)
		if err == nil {
			return nil
		}
		if !errors.Is(err, postbox.ErrUnavailable) || times == 100 {
			return fmt.Errorf("after %d retries: %w", times, err)
		}
	}
}

// entries reads a whole inbox.
func (w *world) entries(user postbox.User) []*postbox.Entry {
	w.t.Helper()
	var all []*postbox.Entry
	for after := postbox.InboxSeq(0); ; after = all[len(all)-1].InboxSeq {
		page, err := w.store.Entries(w.t.Context(), w.ids[user], after, 1<<40, 500)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func bodies(entries []*postbox.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, string(e.Message.Body))
	}
	return all
}

// number scans one number.
func (w *world) number(query string, args ...any) int {
	w.t.Helper()
	var n int
	if err := w.store.DB().Get(&n, query, args...); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// exec runs a statement of the test's own.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	if _, err := w.store.DB().ExecContext(w.t.Context(), statement, args...); err != nil {
		w.t.Fatal(err)
	}
}

// audit checks the numbers of the whole database, and that it holds so many
// messages: every log is 1, 2, 3 … up to its head, and every message is once in
// the inbox of its sender and of the other side.
func (w *world) audit(messages int) {
	w.t.Helper()
	if n := w.number(`SELECT count(*) FROM postbox.messages`); n != messages {
		w.t.Errorf("%d messages are stored, want %d", n, messages)
	}
	for what, query := range map[string]string{
		"a hole or a repeat in an inbox": `
			SELECT count(*) FROM (SELECT inbox_seq, row_number() OVER (PARTITION BY user_id ORDER BY inbox_seq) AS n FROM postbox.inbox_entries) i
			 WHERE inbox_seq <> n`,
		"a hole or a repeat in a conversation": `
			SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY conversation_id ORDER BY seq) AS n FROM postbox.messages) m
			 WHERE seq <> n`,
		"a head beside its log": `
			SELECT count(*) FROM postbox.heads l
			 WHERE head <> (SELECT count(*) FROM postbox.inbox_entries i WHERE i.user_id = l.id)
			             + (SELECT count(*) FROM postbox.messages m WHERE m.conversation_id = l.id)`,
		"a sender without the own copy": `
			SELECT count(*) FROM postbox.messages m WHERE NOT EXISTS (
				SELECT 1 FROM postbox.inbox_entries i WHERE i.user_id = m.sender_id AND i.inbox_seq = m.sender_inbox_seq
				   AND i.conversation_id = m.conversation_id AND i.seq = m.seq)`,
		"a message that is not once with each side": `
			SELECT count(*) FROM postbox.messages m JOIN postbox.conversations c ON c.id = m.conversation_id
			 WHERE (SELECT array_agg(i.user_id ORDER BY i.user_id) FROM postbox.inbox_entries i
			         WHERE i.conversation_id = m.conversation_id AND i.seq = m.seq)
			    IS DISTINCT FROM CASE WHEN c.user_low = c.user_high THEN ARRAY[c.user_low] ELSE ARRAY[c.user_low, c.user_high] END`,
		"a message that was sent before the one before it": `
			SELECT count(*) FROM postbox.messages a JOIN postbox.messages b
			    ON b.conversation_id = a.conversation_id AND b.seq = a.seq + 1 WHERE b.sent_at < a.sent_at`,
	} {
		if n := w.number(query); n != 0 {
			w.t.Errorf("%s: %d times", what, n)
		}
	}
}

// agree checks that what Append filled in is what is stored.
func (w *world) agree(publishes ...*postbox.Publish) {
	w.t.Helper()
	for _, p := range publishes {
		var stored struct {
			Seq  postbox.Seq      `db:"seq"`
			Own  postbox.InboxSeq `db:"sender_inbox_seq"`
			Sent time.Time        `db:"sent_at"`
		}
		const look = `SELECT seq, sender_inbox_seq, sent_at FROM postbox.messages WHERE id = $1`
		if err := w.store.DB().GetContext(w.t.Context(), &stored, look, p.Message.ID.String()); err != nil {
			w.t.Errorf("%s: %v", p.Message.Body, err)
			continue
		}
		m := p.Message
		if p.Used != nil || m.Seq != stored.Seq || p.InboxSeq != stored.Own || !m.SentAt.Equal(stored.Sent) {
			w.t.Errorf("%s: told %d, %d, %v, used %v; stored %+v", m.Body, m.Seq, p.InboxSeq, m.SentAt, p.Used, stored)
		}
		var numbers []postbox.InboxSeq
		for _, r := range p.Recipients {
			numbers = append(numbers, postbox.InboxSeq(w.number(
				`SELECT inbox_seq FROM postbox.inbox_entries WHERE user_id = $1 AND conversation_id = $2 AND seq = $3`, r, m.Conversation, stored.Seq)))
		}
		if !slices.Equal(numbers, p.InboxSeqs) {
			w.t.Errorf("%s: told the recipients' numbers %v, stored %v", m.Body, p.InboxSeqs, numbers)
		}
	}
}

// waitFor asks the database until a condition holds: there is no event to wait
// for in another process.
func (w *world) waitFor(what, condition string, args ...any) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	for {
		var holds bool
		if err := w.store.DB().GetContext(ctx, &holds, `SELECT `+condition, args...); err != nil {
			w.t.Fatalf("wait for %s: %v", what, err)
		}
		if holds {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// blocked holds while so many statements that contain text wait for a lock.
const blocked = `count(*) = $2 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND position($1 IN query) > 0`
