package importer

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbox"
	"postbox/internal/pgtest"
	"postbox/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// now is the present of the tests.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a Postbox to import into.
type world struct {
	*testing.T
	db *store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.Open(store.Options{URL: pgtest.New(t), PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &world{t, db}
}

// csv writes a CSV file.
func (w *world) csv(name, text string) string {
	w.Helper()
	path := filepath.Join(w.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// prepare looks at an import and fails the test if that does not work.
func (w *world) prepare(o Options) *Plan {
	w.Helper()
	if o.BodySize == 0 {
		o.BodySize = 64 << 10
	}
	o.Now = func() time.Time { return now }
	p, err := Prepare(w.Context(), w.db, o)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// run imports.
func (w *world) run(o Options) Report {
	w.Helper()
	p := w.prepare(o)
	defer p.Close()
	if err := p.Run(w.Context()); err != nil {
		w.Fatalf("%v\n%+v", err, p.Report)
	}
	return p.Report
}

// refused looks at an import that must not begin, and checks that nothing is written.
func (w *world) refused(o Options, want ...string) Report {
	w.Helper()
	p := w.prepare(o)
	defer p.Close()
	before := w.count()
	if err := p.Run(w.Context()); err == nil || !strings.HasPrefix(err.Error(), "nothing was written: ") {
		w.Errorf("run: %v", err)
	}
	if after := w.count(); after != before {
		w.Errorf("%d rows were written", after-before)
	}
	all := strings.Join(p.Obstacles(p.o), "\n")
	for _, s := range want {
		if !strings.Contains(all, s) {
			w.Errorf("obstacles %s, want %s", all, s)
		}
	}
	return p.Report
}

func (w *world) count() (n int) {
	w.Helper()
	const all = `SELECT (SELECT count(*) FROM postbox.users) + (SELECT count(*) FROM postbox.messages) + (SELECT count(*) FROM postbox.imported_users)`
	if err := w.db.DB().Get(&n, all); err != nil {
		w.Fatal(err)
	}
	return n
}

// history is what a user has in the inbox: "from>to time body".
func (w *world) history(user postbox.User) []string {
	w.Helper()
	u, err := w.db.UserByName(w.Context(), user)
	if err != nil {
		w.Fatal(err)
	}
	var all []string
	for after := postbox.InboxSeq(0); ; {
		page, err := w.db.Entries(w.Context(), u.ID, after, 1<<40, 500)
		if err != nil {
			w.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		for _, e := range page {
			m := e.Message
			all = append(all, string(m.From)+">"+string(m.To)+" "+m.SentAt.Format(time.RFC3339Nano)+" "+string(m.Body))
			if after++; e.InboxSeq != after {
				w.Errorf("entry %d has the number %d", after, e.InboxSeq)
			}
		}
	}
}

// foreign is an empty PostgreSQL database of another application, and its URL.
func foreign(t *testing.T, statements string) (*sql.DB, string) {
	t.Helper()
	url := pgtest.New(t)
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(context.Background(), statements); err != nil {
		t.Fatal(err)
	}
	return db, url
}
