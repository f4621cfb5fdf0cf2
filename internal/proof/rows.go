package proof

import (
	"database/sql"
	"fmt"
	"testing"
	"time"
)

// Row is a message as it is stored.
type Row struct {
	ID           string
	Conversation int64
	Seq          int64
	Sender       string
	Device       string
	Key          string
	Body         string
	SentAt       time.Time
	// Xmin is the transaction that stored it.
	Xmin int64
}

// Messages reads the messages stamped after since, by conversation and number.
func Messages(t testing.TB, db *sql.DB, since time.Time) []Row {
	t.Helper()
	return query(t, db, func(rows *sql.Rows) (r Row, err error) {
		return r, rows.Scan(&r.ID, &r.Conversation, &r.Seq, &r.Sender, &r.Device, &r.Key, &r.Body, &r.SentAt, &r.Xmin)
	}, `SELECT m.id, m.conversation_id, m.seq, u.name, coalesce(m.device, ''), coalesce(m.idempotency_key, ''), m.body, m.sent_at, m.xmin::text::bigint
	      FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id
	     WHERE m.sent_at > $1
	     ORDER BY m.conversation_id, m.seq`, since)
}

// InboxRow is an entry of a user's inbox with the message it names.
type InboxRow struct {
	InboxSeq int64
	Seq      int64
	ID       string
	Sender   string
	Body     string
}

// Inbox reads a user's inbox in the order of its numbers.
func Inbox(t testing.TB, db *sql.DB, user string) []InboxRow {
	t.Helper()
	return query(t, db, func(rows *sql.Rows) (r InboxRow, err error) {
		return r, rows.Scan(&r.InboxSeq, &r.Seq, &r.ID, &r.Sender, &r.Body)
	}, `SELECT i.inbox_seq, m.seq, m.id, s.name, m.body
	      FROM postbox.inbox_entries i
	      JOIN postbox.users u ON u.id = i.user_id
	      JOIN postbox.messages m ON m.conversation_id = i.conversation_id AND m.seq = i.seq
	      JOIN postbox.users s ON s.id = m.sender_id
	     WHERE u.name = $1 AND i.kind = 0
	     ORDER BY i.inbox_seq`, user)
}

// Holes lists the inboxes and conversations whose numbers are not 1, 2, 3 …,
// or differ from the head of their log.
func Holes(t testing.TB, db *sql.DB) []string {
	t.Helper()
	return query(t, db, func(rows *sql.Rows) (string, error) {
		var kind string
		var id, n, low, high, head int64
		err := rows.Scan(&kind, &id, &n, &low, &high, &head)
		return fmt.Sprintf("%s %d has %d numbers from %d to %d, its log says %d", kind, id, n, low, high, head), err
	}, `SELECT x.kind, x.id, x.n, x.low, x.high, coalesce(l.head, -1)
	      FROM (SELECT 'inbox' AS kind, user_id AS id, count(*) AS n, min(inbox_seq) AS low, max(inbox_seq) AS high
	              FROM postbox.inbox_entries GROUP BY user_id
	            UNION ALL
	            SELECT 'conversation', conversation_id, count(*), min(seq), max(seq)
	              FROM postbox.messages GROUP BY conversation_id) x
	      LEFT JOIN postbox.heads l ON l.id = x.id
	     WHERE x.low <> 1 OR x.high <> x.n OR l.head IS DISTINCT FROM x.high`)
}

// Devices lists the devices with a session and how far each one is.
func Devices(t testing.TB, db *sql.DB) []string {
	t.Helper()
	return query(t, db, func(rows *sql.Rows) (text string, err error) { return text, rows.Scan(&text) },
		`SELECT u.name || '/' || d.client_id || ' at ' || d.cursor || ' of ' || coalesce(l.head, 0)
		        || CASE WHEN d.disconnected_at IS NULL THEN ', connected' ELSE ', gone since ' || d.disconnected_at END
		   FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id LEFT JOIN postbox.heads l ON l.id = u.id
		  ORDER BY u.name, d.client_id`)
}

// Committed is how many messages are stored. It is cheap: it reads the last
// number of each conversation.
func Committed(db *sql.DB) (int, error) {
	var n int
	err := db.QueryRow(`SELECT coalesce(sum(l.head), 0) FROM postbox.conversations c JOIN postbox.heads l ON l.id = c.id`).Scan(&n)
	return n, err
}

// FirstXidAfterRecovery is the transaction id from which PostgreSQL went on
// after its last crash recovery, if no checkpoint has been made since.
func FirstXidAfterRecovery(t testing.TB, db *sql.DB) int64 {
	t.Helper()
	var xid int64
	if err := db.QueryRow(`SELECT split_part(next_xid, ':', 2)::bigint FROM pg_control_checkpoint()`).Scan(&xid); err != nil {
		t.Fatalf("read the checkpoint: %v", err)
	}
	return xid
}

func query[T any](t testing.TB, db *sql.DB, scan func(*sql.Rows) (T, error), text string, args ...any) []T {
	t.Helper()
	rows, err := db.Query(text, args...)
	if err != nil {
		t.Fatalf("query: %v\n%s", err, text)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			t.Fatalf("scan: %v\n%s", err, text)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("rows: %v\n%s", err, text)
	}
	return all
}
