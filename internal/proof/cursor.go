package proof

import (
	"database/sql"
	"testing"
	"time"
)

// SavedCursor is a device's cursor as it is stored; -1 if it has none.
func SavedCursor(t testing.TB, db *sql.DB, user, id string) int64 {
	t.Helper()
	at := int64(-1)
	err := db.QueryRow(`SELECT d.cursor FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id
		WHERE u.name = $1 AND d.client_id = $2`, user, id).Scan(&at)
	if err != nil && err != sql.ErrNoRows {
		t.Fatalf("read the cursor of %s/%s: %v", user, id, err)
	}
	return at
}

// WaitCursor waits until a device's cursor is stored as n. It must never be
// more.
func WaitCursor(t testing.TB, db *sql.DB, user, id string, n int64) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		switch at := SavedCursor(t, db, user, id); {
		case at == n:
			return
		case at > n:
			t.Fatalf("the cursor of %s/%s is stored as %d, which is past %d", user, id, at, n)
		case time.Now().After(limit):
			t.Fatalf("the cursor of %s/%s is stored as %d after %v, want %d", user, id, at, patience, n)
		}
	}
}
