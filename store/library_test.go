package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"testing"

	"postbox"
	"postbox/internal/pgtest"
)

// library is a database with much to read: the user's conversation with bob has
// six of ten messages. They lie anywhere, as messages do of which each came among
// thousands of other conversations' ones.
type library struct {
	t    testing.TB
	s    *Store
	user postbox.UserID
	bob  postbox.Place
}

func newLibrary(t testing.TB, n int) *library {
	t.Helper()
	s, err := Open(Options{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	l := &library{t: t, s: s}
	if l.user, err = s.AddUser(t.Context(), "alice", "", false); err != nil {
		t.Fatal(err)
	}
	l.exec(`INSERT INTO postbox.users (name) SELECT CASE i WHEN 0 THEN 'bob' ELSE 'user' || i END FROM generate_series(0, 100) AS i`)
	l.exec(`INSERT INTO postbox.conversations (user_low, user_high, low_wrote, high_wrote)
		SELECT $1, id, true, true FROM postbox.users WHERE id <> $1 ORDER BY id`, l.user)
	l.exec(`INSERT INTO postbox.logs (id) SELECT id FROM postbox.conversations`)
	l.exec(`
		INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq, sent_at, id, digest, content_type, body)
		SELECT id, row_number() OVER (PARTITION BY id ORDER BY i), CASE WHEN i % 2 = 0 THEN user_low ELSE user_high END,
		       CASE WHEN i % 2 = 0 THEN i ELSE row_number() OVER (PARTITION BY id ORDER BY i) END,
		       CASE WHEN i % 2 = 1 THEN i ELSE row_number() OVER (PARTITION BY id ORDER BY i) END,
		       '2026-01-01'::timestamptz + i * interval '1 second', gen_random_uuid(), '\x00112233445566778899aabbccddeeff', 'text/plain',
		       convert_to(repeat('word ', 5 + (i % 30)::int), 'UTF8')
		  FROM (SELECT i, hashint8(i) & 1023 AS h FROM generate_series(1, $1::bigint) AS i) r
		  JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS n FROM postbox.conversations) c
		    ON c.n = CASE WHEN h < 614 THEN 0 ELSE 1 + h % 100 END
		 ORDER BY hashint8(i)`, n)
	if l.bob, err = s.Place(t.Context(), l.user, "bob", ""); err != nil {
		t.Fatal(err)
	}
	return l
}

// exec takes the time it needs.
func (l *library) exec(statement string, args ...any) {
	l.t.Helper()
	err := l.s.Migrating(l.t.Context(), func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// plan is what PostgreSQL says of a statement that it has run.
type plan struct {
	Plan struct {
		Hit  int `json:"Shared Hit Blocks"`
		Read int `json:"Shared Read Blocks"`
	}
	Execution float64 `json:"Execution Time"` // milliseconds
	text      string
}

func (p *plan) blocks() int { return p.Plan.Hit + p.Plan.Read }

// explain runs a statement as the archive does, prepared and with one plan for
// all values.
func (l *library) explain(statement string, values string) *plan {
	l.t.Helper()
	return l.explainOn(&l.s.archive.statements, statement, values)
}

// explainOn is explain on the connections of another pool.
func (l *library) explainOn(p *statements, statement, values string) *plan {
	l.t.Helper()
	conn, err := p.db.Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{`DEALLOCATE ALL`, `PREPARE explained AS ` + statement} {
		if _, err := conn.ExecContext(l.t.Context(), s); err != nil {
			l.t.Fatal(err)
		}
	}
	var text string
	row := conn.QueryRowContext(l.t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained (`+values+`)`)
	if err := row.Scan(&text); err != nil {
		l.t.Fatal(err)
	}
	var plans []plan
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		l.t.Fatalf("%v: %s", err, text)
	}
	plans[0].text = text
	return &plans[0]
}
