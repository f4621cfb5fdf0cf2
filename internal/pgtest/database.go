package pgtest

import (
	"context"
	"testing"

	"github.com/lib/pq"
)

// New returns the lib/pq URL of a new database with the present schema and
// nothing in it. It is dropped at the end of the test, whoever is still
// connected. Safe for parallel tests; the first call in a test binary takes a
// second or two, the others some ten milliseconds.
func New(t testing.TB) string {
	t.Helper()
	requireMain(t)
	if err := shared.start(t.Context()); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	name := newName("db")
	create := `CREATE DATABASE ` + pq.QuoteIdentifier(name) + ` TEMPLATE ` + pq.QuoteIdentifier(shared.template)
	if _, err := shared.admin.ExecContext(t.Context(), create); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := dropDatabase(ctx, shared.admin, name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return shared.urlOf(name)
}

func requireMain(t testing.TB) {
	t.Helper()
	if !running.Load() {
		t.Fatal("pgtest: the package needs func TestMain(m *testing.M) { pgtest.Main(m) }")
	}
}
