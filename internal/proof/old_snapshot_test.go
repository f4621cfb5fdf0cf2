package proof

import (
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Somebody keeps a transaction open: a backup, a long report, a forgotten
// session. PostgreSQL then cannot clean up what has changed since, for nobody.
// Sending must not become slower with every message that is sent meanwhile.
func TestBesideAnOldTransaction(t *testing.T) {
	for name, begin := range map[string][]string{
		"a snapshot":           {`BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT count(*) FROM postbox.users`},
		"prepared transaction": {`BEGIN`, `CREATE TABLE public.forgotten ()`, `PREPARE TRANSACTION 'forgotten'`},
	} {
		if name != "a snapshot" && soak {
			continue // once ten minutes is enough
		}
		t.Run(name, func(t *testing.T) { besideAnOldTransaction(t, begin) })
	}
}

func besideAnOldTransaction(t *testing.T, begin []string) {
	// In CI it is the work that counts, which does not depend on how busy the
	// machine is, of messages that are stored one by one: those in one transaction
	// share much of it. The search index is put in order every thousand: that is a third
	// of the work, and must be in both measures.
	interval, least, beside := time.Second, 2000, 12*time.Second
	if soak {
		interval, least, beside = 20*time.Second, 1, 10*time.Minute
	}
	c := newCluster(t, "", map[string]string{"max_prepared_transactions": "2"})
	db := c.db()
	s := StartServer(t, ServerOptions{DatabaseURL: c.URL(), NoRace: true})
	for _, user := range []string{"alice", "dave", "bob"} {
		s.AddUser(user, user+"'s secret")
	}
	var sources []*Source
	for _, user := range []string{"alice", "dave"} {
		sources = append(sources, StartSource(t, s.MQTT, user, "source", 100, "bob", user))
	}
	var stop atomic.Bool
	var work sync.WaitGroup
	if soak {
		for _, source := range sources {
			source.Run(0)
		}
	} else {
		// In turn: two at once are in one transaction, or not, as it happens.
		work.Go(func() {
			for i := 0; !stop.Load(); i++ {
				sources[i%len(sources)].Send(t, 1)
			}
		})
	}
	// The beginning is not the rate: routes are resolved, files grow.
	awaitQuery(t, db, "1000 messages", `SELECT count(*) >= 1000 FROM postbox.messages`)

	before := measure(t, db, interval, least)
	old, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range begin {
		if _, err := old.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	time.Sleep(beside)
	after := measure(t, db, interval, least)
	t.Logf("before: %.0f messages/s, %.1f pages for each; after %v beside it: %.0f messages/s, %.1f pages", before.rate, before.pages, beside, after.rate, after.pages)
	if after.pages > 1.5*before.pages {
		t.Errorf("a message takes %.1f pages beside the old transaction, and %.1f without", after.pages, before.pages)
	}
	if soak && after.rate < before.rate/2 {
		t.Errorf("%.0f messages/s beside the old transaction, %.0f without", after.rate, before.rate)
	}
	end := `ROLLBACK`
	if begin[len(begin)-1] == `PREPARE TRANSACTION 'forgotten'` {
		end = `ROLLBACK PREPARED 'forgotten'`
	}
	if _, err := old.ExecContext(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	old.Close()
	stop.Store(true)
	work.Wait()
	var sent int64
	for _, source := range sources {
		sent += source.Halt(t)
	}
	if n, err := Committed(db); err != nil || int64(n) != sent {
		t.Errorf("%d messages are stored of %d, %v", n, sent, err)
	}
	for _, h := range Holes(t, db) {
		t.Error(h)
	}
}

// work is what PostgreSQL does for the messages of an interval.
type work struct {
	messages int
	rate     float64 // messages a second
	pages    float64 // that it touches for a message, from memory or disk
}

// measure looks at the database for an interval of at least this length and so many
// messages. The statistics of a connection come at most every second: so the
// interval begins and ends with some of them.
func measure(t *testing.T, db *sql.DB, interval time.Duration, least int) work {
	t.Helper()
	const look = `
		SELECT blks_hit + blks_read, (SELECT n_tup_ins FROM pg_stat_all_tables WHERE relid = 'postbox.messages'::regclass)
		  FROM pg_stat_database WHERE datname = current_database()`
	type sample struct {
		pages, messages int
		at              time.Time
	}
	next := func(after sample) sample {
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			var s sample
			if err := db.QueryRow(look).Scan(&s.pages, &s.messages); err != nil {
				t.Fatal(err)
			}
			s.at = time.Now()
			if s.messages > after.messages {
				return s
			}
			if time.Now().After(end) {
				t.Fatalf("no message was stored for %v", patience)
			}
		}
	}
	first := next(next(sample{}))
	time.Sleep(interval)
	last := next(first)
	for last.messages-first.messages < least {
		last = next(last)
	}
	n := last.messages - first.messages
	return work{
		messages: n, rate: float64(n) / last.at.Sub(first.at).Seconds(),
		pages: float64(last.pages-first.pages) / float64(n),
	}
}
