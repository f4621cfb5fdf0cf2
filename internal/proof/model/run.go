package model

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver "postgres"

	"postbox/internal/embedpg"
	"postbox/internal/proof"
)

// Options say how long a run is and what it does.
type Options struct {
	// Seed decides every step.
	Seed uint64
	// For is how long steps are made. A run ends some seconds later, when all
	// is delivered.
	For time.Duration
}

// devicesOf are the devices of each user, by their protocol version.
var devicesOf = map[string][]byte{
	"alice": {5, 4, 5},
	"bob":   {4, 5, 5},
	"carol": {5, 4},
	"dave":  {4, 5},
}

// Run carries out the steps of a seed against a server of its own and fails the
// test at the first broken promise, with all that led to it.
func Run(t *testing.T, o Options) {
	t.Helper()
	w := newWorld(t)
	defer w.db.Close()
	steps := w.play(o)
	w.mu.Lock()
	defer w.mu.Unlock()
	var counts []string
	for what, n := range w.counts {
		counts = append(counts, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(counts)
	t.Logf("seed %d: %d steps in %v: %s", o.Seed, steps, time.Since(w.began).Round(time.Second), strings.Join(counts, ", "))
	if f := w.found; f != nil {
		t.Errorf("FINDING after %.1fs: %s: %s\nPOSTBOX_MODEL_SEED=%d makes the same decisions again", f.after.Seconds(), f.what, f.text, o.Seed)
		w.showTrace(f)
		return
	}
	for what, least := range map[string]int{"disconnects": 50, "kills": 10} {
		if w.counts[what]*1000 < least*steps && steps >= 1000 {
			t.Errorf("%d %s in %d steps, want %d of 1,000", w.counts[what], what, steps, least)
		}
	}
}

// showTrace prints what led to a finding: of the device that it names, or of
// all. POSTBOX_MODEL_TRACE names a file for the whole of it.
func (w *world) showTrace(f *finding) {
	const most = 150
	if name := os.Getenv("POSTBOX_MODEL_TRACE"); name != "" {
		if err := os.WriteFile(name, []byte(strings.Join(w.trace, "\n")), 0o600); err != nil {
			w.t.Error(err)
		}
	}
	lines := w.trace
	for _, d := range w.devices {
		if strings.Contains(f.text, d.String()) {
			lines = slices.DeleteFunc(slices.Clone(w.trace), func(l string) bool {
				return strings.Contains(l, "/") && !strings.Contains(l, d.String())
			})
			break
		}
	}
	w.t.Logf("what happened before:\n%s", strings.Join(lines[max(0, len(lines)-most):], "\n"))
}

// newWorld starts the server on a PostgreSQL of its own, and makes the users.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, pg: startPostgres(t), changed: make(chan struct{}), tokens: make(map[string]string),
		removed: make(map[string]int64), book: newBook(), mirror: newMirror(), counts: make(map[string]int),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	t.Cleanup(w.cancel)
	w.server = proof.StartServer(t, proof.ServerOptions{DatabaseURL: w.pg.URL()})
	w.address = w.server.MQTT
	var err error
	if w.db, err = sql.Open("postgres", w.pg.URL()); err != nil {
		t.Fatal(err)
	}
	w.db.SetMaxOpenConns(5)
	for user, versions := range devicesOf {
		// Without a password: tokens cost nothing to check after each kill.
		if _, err := w.db.Exec(`WITH added AS (INSERT INTO postbox.users (name) VALUES ($1) RETURNING id)
			INSERT INTO postbox.logs (id) SELECT id FROM added`, user); err != nil {
			t.Fatal(err)
		}
		out := w.server.Command("", "token", user)
		if out.Code != 0 {
			t.Fatalf("token %s: %+v", user, out)
		}
		w.tokens[user] = strings.TrimSpace(out.Stdout)
		w.users = append(w.users, user)
		for i, v := range versions {
			w.devices = append(w.devices, newDevice(w, user, fmt.Sprintf("%s-%d", user, i+1), v))
		}
	}
	slices.Sort(w.users)
	slices.SortFunc(w.devices, func(a, b *device) int { return strings.Compare(a.name, b.name) })
	for _, u := range w.users {
		var id int64
		if err := w.db.QueryRow(`SELECT id FROM postbox.users WHERE name = $1`, u).Scan(&id); err != nil {
			t.Fatal(err)
		}
		w.mirror.names[id] = u
	}
	if err := w.db.QueryRow(`SELECT epoch FROM postbox.epochs ORDER BY began_at DESC LIMIT 1`).Scan(&w.epoch); err != nil {
		t.Fatal(err)
	}
	w.began = time.Now()
	return w
}

// startPostgres starts an empty PostgreSQL, with fsync on: its schema is the
// business of the server under test.
func startPostgres(t *testing.T) *embedpg.Server {
	t.Helper()
	// Not t.TempDir: that one is closed to the account that PostgreSQL runs as.
	dir, err := os.MkdirTemp("", "postbox-model-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pg, err := embedpg.Start(t.Context(), embedpg.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := pg.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return pg
}

// play makes the steps, lets everything arrive, and returns how many there were.
func (w *world) play(o Options) (n int) {
	var devices, auditor sync.WaitGroup
	for _, d := range w.devices {
		devices.Go(d.work)
	}
	stop := make(chan struct{})
	auditor.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.audit(w.ctx)
			case <-stop:
				return
			}
		}
	})
	steps := newSteps(o.Seed)
	for ; time.Since(w.began) < o.For && w.ctx.Err() == nil; n++ {
		w.take(steps.next(len(w.devices)))
	}
	for _, d := range w.devices {
		close(d.steps)
	}
	w.release()
	devices.Wait()
	w.settle()
	close(stop)
	auditor.Wait()
	w.end()
	return n
}

// take carries out a step, or hands it to its device.
func (w *world) take(s step) {
	if s.ofDevice() {
		d := w.devices[s.who]
		w.locked(func() { d.busy++ })
		select {
		case d.steps <- s:
		case <-w.ctx.Done():
		}
		return
	}
	switch s.kind {
	case stallStep:
		w.stall(s.rand())
	case killStep:
		w.kill()
	case crashStep:
		w.crash()
	case postgresStep:
		w.killPostgres(s.rand())
	case expireStep:
		w.expire(s.rand())
	case calmStep:
		w.calm()
	}
}

// end ends what is left of connections.
func (w *world) end() {
	w.cancel()
	w.mu.Lock()
	for _, d := range w.devices {
		if c := d.conn; c != nil {
			c.closing, c.discard = true, true
			c.cut()
		}
	}
	w.tell()
	w.mu.Unlock()
	w.readers.Wait()
}
