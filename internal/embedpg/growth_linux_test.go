package embedpg

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What tables grow by is written within moments: by itself the system would do that
// half a minute later, all at once, and commits would wait for it.
func TestGrowthIsWrittenEarly(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s, err := Start(t.Context(), Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	var dirty uint64
	for i := range 2 { // of the first one the server may not have seen how short it was
		table := fmt.Sprint("large", i)
		mustQuery(t, s.URL(), `CREATE TABLE `+table+` AS SELECT i, repeat('x', 1000) AS filler FROM generate_series(1, 20000) AS i`)
		path := filepath.Join(dir, "pgdata", value(t, s.URL(), `SELECT pg_relation_filepath('`+table+`')`))
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if dirty = unwritten(t, path); dirty == 0 {
				return
			}
		}
	}
	t.Errorf("%d pages are not written", dirty)
}

// unwritten is how many pages of a file are in memory only; 0 if the system, before
// Linux 6.5, does not tell.
func unwritten(t *testing.T, path string) (pages uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var state unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: 0, Len: math.MaxInt64}, &state, 0); err != nil {
		t.Logf("cachestat: %v", err)
		return 0
	}
	return state.Dirty + state.Writeback
}
