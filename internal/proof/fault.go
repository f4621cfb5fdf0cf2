package proof

import (
	"database/sql"
	"fmt"
	"testing"
)

// Fail makes every statement that writes to one of these tables fail with a
// SQLSTATE, as PostgreSQL does when its disk is full, until mend is called.
func Fail(t testing.TB, db *sql.DB, code string, tables ...string) (mend func()) {
	t.Helper()
	const fault = `
		CREATE OR REPLACE FUNCTION public.proof_fault() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'a fault of the proof' USING ERRCODE = TG_ARGV[0]; END $$`
	exec := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec(fault)
	for _, table := range tables {
		exec(fmt.Sprintf(`CREATE TRIGGER proof_fault BEFORE INSERT OR UPDATE OR DELETE ON postbox.%s
			FOR EACH STATEMENT EXECUTE FUNCTION public.proof_fault('%s')`, table, code))
	}
	return func() {
		t.Helper()
		for _, table := range tables {
			exec(fmt.Sprintf(`DROP TRIGGER proof_fault ON postbox.%s`, table))
		}
	}
}
