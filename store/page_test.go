package store

import (
	"encoding/json"
	"math"
	"testing"

	"postbox"
	"postbox/internal/pgtest"
)

// shelf is a user with a long inbox, all from one sender.
type shelf struct {
	t    *testing.T
	s    *Store
	user postbox.UserID
}

// newShelf makes an inbox of n messages; body is an SQL expression over the
// number i.
func newShelf(t *testing.T, n int, body string) *shelf {
	t.Helper()
	s, err := Open(Options{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := &shelf{t: t, s: s}
	alice, err := s.AddUser(t.Context(), "alice", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if h.user, err = s.AddUser(t.Context(), "bob", "", false); err != nil {
		t.Fatal(err)
	}
	h.exec(`INSERT INTO postbox.conversations (user_low, user_high) VALUES (least($1::bigint, $2), greatest($1::bigint, $2))`, alice, h.user)
	h.exec(`INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, sent_at, id, digest, body)
		SELECT c.id, i, $1, i, now(), gen_random_uuid(), '', `+body+`
		  FROM postbox.conversations c, generate_series(1, $2::int) AS i`, alice, n)
	h.exec(`INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq)
		SELECT $1, i, c.id, i FROM postbox.conversations c, generate_series(1, $2::int) AS i`, h.user, n)
	return h
}

func (h *shelf) exec(statement string, args ...any) {
	h.t.Helper()
	if _, err := h.s.db.ExecContext(h.t.Context(), statement, args...); err != nil {
		h.t.Fatal(err)
	}
}

// blocks is how many blocks of 8 KiB PostgreSQL looks at for a query.
func (h *shelf) blocks(query string, args ...any) int {
	h.t.Helper()
	var text string
	err := h.s.db.GetContext(h.t.Context(), &text, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"+query, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		h.t.Fatalf("%v: %s", err, text)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// A page costs the same however much the device has before it and behind it,
// whatever the planner knows of the tables.
func TestPageCostsTheSameAnywhere(t *testing.T) {
	t.Parallel()
	const n, page = 60_000, 100
	h := newShelf(t, n, `'hello'::bytea`)
	for _, known := range []string{"nothing", "everything"} {
		if known == "everything" {
			h.exec(`ANALYZE postbox.inbox, postbox.messages, postbox.users, postbox.conversations`)
		}
		least, most := n, 0
		for _, after := range []postbox.InboxSeq{0, 1000, n / 2, n - page} {
			blocks := h.blocks(readPage, h.user, after, after+page, pageBytes)
			least, most = min(least, blocks), max(most, blocks)
		}
		t.Logf("the planner knows %s: from %d to %d blocks for a page of %d", known, least, most, page)
		if most > 2*least || most > 20*page {
			t.Errorf("the planner knows %s: a page of %d costs from %d to %d blocks", known, page, least, most)
		}
	}
	// What is asked for has an end far away; what is read has not.
	before := h.scanned()
	for after := postbox.InboxSeq(0); after < 1000; after += page {
		if got, err := h.s.Entries(t.Context(), h.user, after, n, page); err != nil || len(got) != page || got[0].InboxSeq != after+1 {
			t.Fatalf("after %d: %d entries, %v", after, len(got), err)
		}
	}
	if read := h.scanned() - before; read > 3000 {
		t.Errorf("%d rows of the inbox were read for 1000 entries", read)
	}
}

// To look for what a device has sent costs the same however much its user has in the
// inbox, whether or not anything is there to be found, or is known to have come.
func TestSentPublishCostsTheSameAnywhere(t *testing.T) {
	t.Parallel()
	const n, published = 60_000, 100
	h := newShelf(t, n, `'hello'::bytea`)
	there, packet := publisherOf(device{h.user, "phone"}.hash(), 7)
	elsewhere, _ := publisherOf(device{h.user, "phone"}.hash(), 7+64)
	h.exec(`UPDATE postbox.messages SET sender_id = $1, device = 'phone'`, h.user)
	h.exec(`UPDATE postbox.inbox SET publisher = $1, packets = $2 WHERE inbox_seq % $3 = 0`, there, []byte{packet}, n/published)
	var newest string
	if err := h.s.db.GetContext(t.Context(), &newest, `SELECT id FROM postbox.messages ORDER BY seq DESC LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	for _, known := range []string{"nothing", "everything"} {
		if known == "everything" {
			h.exec(`ANALYZE postbox.inbox, postbox.messages, postbox.users, postbox.conversations`)
		}
		for _, publisher := range []int64{there, elsewhere} {
			for _, come := range []string{postbox.MessageID{}.String(), newest} {
				// Each row may be in a block of its own.
				if blocks := h.blocks(readSent, h.user, "phone", publisher, []byte{packet}, come, int64(math.MaxInt64), resendRows); blocks > published+50 {
					t.Errorf("the planner knows %s, %d, known to have come %s: %d blocks", known, publisher, come, blocks)
				}
			}
		}
	}
}

// scanned is how many rows of inboxes all statements have read so far.
func (h *shelf) scanned() (n int64) {
	h.t.Helper()
	// Each connection hands its counts in when it is told to, or ends.
	h.s.db.SetMaxIdleConns(0)
	defer h.s.db.SetMaxIdleConns(10)
	const read = `SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE schemaname = 'postbox' AND relname = 'inbox'`
	if err := h.s.db.GetContext(h.t.Context(), &n, read); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// A page holds about as many bytes as it may, and one entry at least, whatever
// comes first.
func TestPageIsBoundInBytes(t *testing.T) {
	t.Parallel()
	// 1 to 10 are small, 11 to 29 have 20 KiB, 30 has 1 MiB, then small ones.
	h := newShelf(t, 40, `convert_to(repeat('x', CASE WHEN i <= 10 OR i > 30 THEN 10 WHEN i < 30 THEN 20 << 10 ELSE 1 << 20 END), 'UTF8')`)
	var pages []int
	for after := postbox.InboxSeq(0); after < 40; {
		got, err := h.s.Entries(t.Context(), h.user, after, 40, 500)
		if err != nil || len(got) == 0 {
			t.Fatalf("after %d: %d entries, %v", after, len(got), err)
		}
		size := 0
		for i, e := range got {
			if e.InboxSeq != after+1+postbox.InboxSeq(i) {
				t.Fatalf("entry %d after %d", e.InboxSeq, after)
			}
			size += len(e.Message.Body)
		}
		if last := len(got[len(got)-1].Message.Body); size-last >= pageBytes {
			t.Errorf("after %d: %d entries of %d bytes", after, len(got), size)
		}
		after = got[len(got)-1].InboxSeq
		pages = append(pages, len(got))
	}
	if len(pages) > 5 {
		t.Errorf("pages of %v entries", pages)
	}
}
