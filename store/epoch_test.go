package store_test

import (
	"net/url"
	"testing"

	"github.com/lib/pq"

	"postbox"
	"postbox/internal/pgtest"
	"postbox/store"
)

func (w *world) epoch(s *store.Store) postbox.Epoch {
	w.t.Helper()
	e, err := s.Epoch(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := postbox.ParsePosition(string(e) + ":1"); err != nil || len(e) < 4 {
		w.t.Errorf("epoch %q is not one for clients: %v", e, err)
	}
	return e
}

func TestEpochStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.epoch(w.store)
	if again := w.epoch(w.open(w.url)); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	begun, err := w.store.NewEpoch(t.Context())
	if err != nil || begun == first {
		t.Fatalf("%s, %v", begun, err)
	}
	if now := w.epoch(w.store); now != begun {
		t.Errorf("%s is in force, want %s", now, begun)
	}
}

// What was restored, cloned or made anew is another lineage: its numbers are
// not those that clients remember.
func TestEpochChangesWithTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.epoch(w.store)
	for what, change := range map[string]string{
		"another cluster":  `UPDATE postbox.epochs SET system_identifier = '1'`,
		"a failover":       `UPDATE postbox.epochs SET timeline = timeline + 1`,
		"another database": `UPDATE postbox.epochs SET database_oid = 1`,
		"a restored dump":  `UPDATE postbox.epochs SET table_oid = 1`,
	} {
		w.exec(change)
		if now := w.epoch(w.store); now == first {
			t.Errorf("%s: still %s", what, now)
		} else if again := w.epoch(w.store); again != now {
			t.Errorf("%s: %s, then %s", what, now, again)
		} else {
			first = now
		}
	}
}

// A copy of the database on the same server.
func TestEpochOfAClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.epoch(w.store)
	u, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	name := u.Path[1:]
	clone := name + "_clone"
	admin := w.open(pgtest.New(t))
	if err := w.store.Close(); err != nil { // a template has no connections
		t.Fatal(err)
	}
	if _, err := admin.DB().Exec(`CREATE DATABASE ` + pq.QuoteIdentifier(clone) + ` TEMPLATE ` + pq.QuoteIdentifier(name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.DB().Exec(`DROP DATABASE ` + pq.QuoteIdentifier(clone) + ` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + clone
	if now := w.epoch(w.open(u.String())); now == first {
		t.Errorf("still %s", now)
	}
	if now := w.epoch(w.open(w.url)); now != first {
		t.Errorf("the original: %s, then %s", first, now)
	}
}

// The clock of the machine that the database is on now may be behind that of
// the last one.
func TestEpochWithTheClockBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.epoch(w.store)
	w.exec(`UPDATE postbox.epochs SET system_identifier = '1', began_at = began_at + interval '1 hour'`)
	second := w.epoch(w.open(w.url))
	if second == first {
		t.Fatalf("still %s", first)
	}
	s := w.open(w.url)
	if now := w.epoch(s); now != second {
		t.Errorf("%s, then %s", second, now)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	begun, err := w.open(w.url).NewEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now := w.epoch(w.open(w.url)); now != begun {
		t.Errorf("%s is in force, want %s", now, begun)
	}
}
