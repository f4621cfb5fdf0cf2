package proof

import (
	"database/sql"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"postbox/internal/pgtest"
)

// verdicts are what became of batches whose connection was cut.
type verdicts struct {
	t  *testing.T
	db *sql.DB

	mu                                 sync.Mutex // guards the fields below
	cuts, stored, not, raced, settling int
	byKind                             map[string]int
}

// look finds out what became of a cut batch, while the server cannot: it waits
// for the end of PostgreSQL's side. Of some batches it does not, so that the
// server finds that side still at work.
func (v *verdicts) look(c Cut) {
	v.mu.Lock()
	v.byKind[c.How]++
	race := rand.IntN(3) == 0
	switch {
	case c.How == cutFence || len(c.IDs) == 0:
		v.settling++
		v.mu.Unlock()
		return
	case race:
		v.cuts++
		v.raced++
		v.mu.Unlock()
		return
	}
	v.mu.Unlock()
	for limit, n := time.Now().Add(patience), 1; n > 0; time.Sleep(time.Millisecond) {
		if err := v.db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, c.Backend).Scan(&n); err != nil {
			v.t.Error(err)
			return
		}
		if time.Now().After(limit) {
			v.t.Errorf("backend %d does not end", c.Backend)
			return
		}
	}
	var n int
	if err := v.db.QueryRow(`SELECT count(*) FROM postbox.messages WHERE id = ANY ($1::uuid[])`, pq.Array(c.IDs)).Scan(&n); err != nil {
		v.t.Error(err)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cuts++
	switch n {
	case 0:
		v.not++
	case len(c.IDs):
		v.stored++
	default:
		v.t.Errorf("%d of a batch of %d messages are stored", n, len(c.IDs))
	}
}

// The connection to PostgreSQL is cut inside COMMIT, again and again, under
// load: the server does not hear whether the batch was stored. It finds out:
// nothing is lost, doubled, or numbered with a hole.
func TestCommitsOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	cuts := 60
	if soak {
		cuts = 1000
	}
	cluster := pgtest.NewCluster(t)
	db, err := sql.Open("postgres", cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(4)
	v := &verdicts{t: t, db: db, byKind: map[string]int{}}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	cutter := NewCutter(seed, v.look)
	gate := StartGate(t, cluster.URL())
	gate.Through(cutter)
	s := StartServer(t, ServerOptions{DatabaseURL: gate.URL})
	p := newParty(t, s)
	p.libraries()
	p.lines()
	p.load.start(t)
	p.phone.WaitFor(t, 200)

	began := time.Now()
	cutter.Start(4)
	for limit := began.Add(time.Duration(cuts) * 5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		v.mu.Lock()
		enough := v.cuts >= cuts && v.stored >= 10 && v.not >= 10
		n := v.cuts
		v.mu.Unlock()
		if enough {
			break
		}
		if time.Now().After(limit) || t.Failed() {
			t.Fatalf("after %v there were %d cuts: %v", time.Since(began), n, v.byKind)
		}
	}
	cutter.Start(0)
	took := time.Since(began)
	p.drain()
	v.mu.Lock()
	defer v.mu.Unlock()
	t.Logf("%d batches cut in %v: %d were stored, %d were not, %d were not looked at; %d cuts of something else; %v",
		v.cuts, took.Round(time.Millisecond), v.stored, v.not, v.raced, v.settling, v.byKind)
	n := p.audit(db)
	t.Logf("%d messages stored", n)
}

// A batch waits for a lock, and its connection is cut. The transaction goes on
// without its client: the server must not store the batch again before that
// one has ended.
func TestOrphanedCommit(t *testing.T) {
	t.Parallel()
	cluster := pgtest.NewCluster(t)
	db, err := sql.Open("postgres", cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	gate := StartGate(t, cluster.URL())
	s := StartServer(t, ServerOptions{DatabaseURL: gate.URL})
	p := newParty(t, s)
	p.libraries()
	p.lines()
	p.load.start(t)
	p.phone.WaitFor(t, 200)
	orphans := 0
	for round := range 3 {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`SELECT 1 FROM postbox.logs FOR UPDATE`); err != nil {
			t.Fatal(err)
		}
		const waiting = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0`
		await := func(what, statement string, n int) {
			t.Helper()
			for limit, have := time.Now().Add(patience), 0; have < n; time.Sleep(time.Millisecond) {
				if err := db.QueryRow(waiting, statement).Scan(&have); err != nil {
					t.Fatal(err)
				}
				if time.Now().After(limit) {
					t.Fatalf("%d of %d %s", have, n, what)
				}
			}
		}
		await("lanes wait for the lock", appending, 1)
		gate.Cut()
		// Its fence waits for the one that it does not hear of any more.
		await("fences wait", fencing, 1)
		if err := db.QueryRow(waiting, appending).Scan(&orphans); err != nil || orphans < 1 {
			t.Fatalf("%d orphans in round %d, %v", orphans, round, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		p.phone.WaitFor(t, p.phone.Last()+100)
	}
	p.drain()
	p.audit(db)
}
