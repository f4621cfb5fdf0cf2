package proof

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// PostgreSQL is there and does not let the server work: no connection is free,
// a password was changed, rights were taken, tables are gone for a moment,
// statements are ended. All of that is "away": senders wait, none is refused,
// and it goes on by itself when it is mended. The log says what is wrong.
func TestDatabaseDoesNotLetIn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", map[string]string{"max_connections": "30"})
	db := c.db()
	c.exec(db,
		`CREATE ROLE app LOGIN PASSWORD 'first'`, `ALTER DATABASE postbox OWNER TO app`,
		`CREATE ROLE hog LOGIN`, `GRANT CONNECT ON DATABASE postbox TO hog`)
	c.askPassword(db, "app")
	gate := StartGate(t, c.as("app", "first"))

	// Others have all the connections when the server starts.
	let := hog(t, c)
	released := make(chan struct{})
	go func() {
		defer close(released)
		time.Sleep(3 * time.Second)
		let()
	}()
	began := time.Now()
	s := StartServer(t, ServerOptions{DatabaseURL: gate.URL})
	<-released
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the server has started after %v, without a connection", took)
	}

	o := &outage{T: t, gate: gate, db: db, s: s}
	o.party = newParty(t, s)
	o.party.libraries()
	o.party.load.start(t)
	o.party.phone.WaitFor(t, 200)
	tables := `ALL TABLES IN SCHEMA postbox`
	for _, f := range []struct {
		name  string
		begin func() (mend func())
		says  string // in the server's log
	}{
		{"no connection free", func() func() {
			// They are taken as soon as the server has lost its own.
			gate.Close()
			let := hog(t, c)
			gate.Open()
			return let
		}, "connection"},
		{"connection limit of the role", func() func() {
			c.exec(db, `ALTER ROLE app CONNECTION LIMIT 0`)
			gate.Cut()
			return func() { c.exec(db, `ALTER ROLE app CONNECTION LIMIT -1`) }
		}, "too many connections for role"},
		{"password changed", func() func() {
			c.exec(db, `ALTER ROLE app PASSWORD 'second'`)
			gate.Cut()
			return func() { c.exec(db, `ALTER ROLE app PASSWORD 'first'`) }
		}, "password authentication failed"},
		{"role may not log in", func() func() {
			c.exec(db, `ALTER ROLE app NOLOGIN`)
			gate.Cut()
			return func() { c.exec(db, `ALTER ROLE app LOGIN`) }
		}, "not permitted to log in"},
		{"rights taken", func() func() {
			c.exec(db, `REVOKE ALL ON `+tables+` FROM app`)
			return func() { c.exec(db, `GRANT ALL ON `+tables+` TO app`) }
		}, "permission denied"},
		{"schema renamed", func() func() {
			c.exec(db, `ALTER SCHEMA postbox RENAME TO elsewhere`)
			return func() { c.exec(db, `ALTER SCHEMA elsewhere RENAME TO postbox`) }
		}, "does not exist"},
		{"read only", func() func() {
			c.exec(db, `ALTER DATABASE postbox SET default_transaction_read_only = on`)
			gate.Cut()
			return func() { c.exec(db, `ALTER DATABASE postbox RESET default_transaction_read_only`) }
		}, "read-only transaction"},
	} {
		_, before := o.party.tap.Log.Totals()
		mend := f.begin()
		o.await(f.name, func() bool { return o.ready() == http.StatusServiceUnavailable })
		o.still() // one lane may be at work when the other is not
		// What was wrong before may still be the reason why it is not ready.
		o.await(f.name+" in the log", func() bool { return strings.Contains(s.LogTail(400), f.says) })
		mend()
		at := time.Now()
		o.party.phone.WaitFor(t, o.party.phone.Last()+300)
		t.Logf("%s: %d acknowledged before; 300 more delivered %v after it was mended", f.name, before, time.Since(at).Round(time.Millisecond))
	}
	o.party.drain()
	o.party.audit(db)
}

// hog takes all connections that are left for ordinary roles, and gives them
// back when asked.
func hog(t *testing.T, c *cluster) (let func()) {
	t.Helper()
	db, err := sql.Open("postgres", c.as("hog", ""))
	if err != nil {
		t.Fatal(err)
	}
	var all []*sql.Conn
	for end := time.Now().Add(patience); ; {
		conn, err := db.Conn(t.Context())
		if err == nil {
			all = append(all, conn)
			continue
		}
		if len(all) > 0 && strings.Contains(err.Error(), "too many") || strings.Contains(err.Error(), "remaining connection slots") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("take all connections: %v", err)
		}
	}
	return func() {
		for _, conn := range all {
			_ = conn.Close()
		}
		_ = db.Close()
	}
}

// Statements fail in every way in which a transaction can fail through no fault
// of its own; backends are ended and statements cancelled under load. Each is
// tried again, and no sender hears of it.
func TestStatementsFail(t *testing.T) {
	t.Parallel()
	o := newOutage(t, "")
	o.party.load.start(t)
	o.party.phone.WaitFor(t, 200)
	for _, code := range []string{
		"40P01", "40001", "55P03", "57014", "57P01", "57P03", "53000", "53100", "53200", "53400", "58000", "58030",
		"25006", "42501", "42P01", "42883", "0A000", "26000", "XX001", "08006",
	} {
		// Of whatever class: an error in the middle of a batch.
		mend := Fail(t, o.db, code, "messages")
		time.Sleep(150 * time.Millisecond)
		mend()
		o.party.phone.WaitFor(t, o.party.phone.Last()+20)
	}
	storm := func(what, statement string, times int) {
		t.Helper()
		hit := 0
		for n := 0; n < times; n++ {
			var k int
			if err := o.db.QueryRow(statement).Scan(&k); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			hit += k
			time.Sleep(20 * time.Millisecond)
		}
		o.party.phone.WaitFor(t, o.party.phone.Last()+100)
		t.Logf("%s: %d times", what, hit)
		if hit < times/10 {
			t.Errorf("%s: only %d times", what, hit)
		}
	}
	const busy = `FROM pg_stat_activity WHERE application_name = 'postbox' AND datname = current_database() AND query LIKE '%postbox.append%'`
	storm("cancelled", `SELECT count(pg_cancel_backend(pid)) `+busy, 40)
	storm("ended", `SELECT count(pg_terminate_backend(pid)) `+busy, 40)

	// Real deadlocks: a transaction takes the logs in the other order.
	deadlocks := func() (n int) {
		if err := o.db.QueryRow(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var logs []int64
	rows, err := o.db.Query(`SELECT id FROM postbox.logs ORDER BY id DESC`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		logs = append(logs, id)
	}
	rows.Close()
	for end := time.Now().Add(patience); deadlocks() < 2; {
		if time.Now().After(end) {
			t.Fatal("no deadlock came about")
		}
		tx, err := o.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range logs {
			if _, err := tx.Exec(fmt.Sprintf(`SELECT FROM postbox.logs WHERE id = %d FOR UPDATE`, id)); err != nil {
				break // this side was ended: so be it
			}
			time.Sleep(20 * time.Millisecond)
		}
		_ = tx.Rollback()
	}
	o.party.phone.WaitFor(t, o.party.phone.Last()+100)
	o.party.drain()
	o.party.audit(o.db)
}
