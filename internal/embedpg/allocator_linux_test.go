package embedpg

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
)

// A connection keeps the memory that one statement has used for the next. Without
// that each of these takes hundreds of pages from the kernel and gives them back.
func TestMemoryIsKeptBetweenStatements(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Dir: newDir(t)})
	db, err := sql.Open("postgres", s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var pid int
	if err := db.QueryRow(`SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	work := func(times int) {
		t.Helper()
		for range times {
			if _, err := db.Exec(`SELECT count(*) FROM (SELECT g::text FROM generate_series(1, 5000) g ORDER BY g::text) s`); err != nil {
				t.Fatal(err)
			}
		}
	}
	work(20)
	const times = 100
	before := pageFaults(t, pid)
	work(times)
	if n := pageFaults(t, pid) - before; n > 10*times {
		t.Errorf("%d statements took %d pages from the kernel", times, n)
	} else {
		t.Logf("%d statements, %d pages", times, n)
	}
}

// Who runs another PostgreSQL is told the same.
func TestAllocatorIsTold(t *testing.T) {
	t.Parallel()
	for path, form := range map[string]string{"../../docs/operations.md": "`%s=%s`", "../../configs/compose.yaml": "%s: %q\n"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range allocator {
			name, value, _ := strings.Cut(v, "=")
			if want := fmt.Sprintf(form, name, value); !strings.Contains(string(text), want) {
				t.Errorf("%s does not say %s", path, want)
			}
		}
	}
}

// pageFaults of a process so far, without those that read from a disk (proc(5)).
func pageFaults(t *testing.T, pid int) (n int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	stat := string(b)
	rest := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if _, err := fmt.Sscan(rest[7], &n); err != nil {
		t.Fatal(err)
	}
	return n
}
