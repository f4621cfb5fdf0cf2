package proof

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// OpenFiles is how many files a process has open.
func OpenFiles(t testing.TB, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Processor is how much processor time a process has used (utime and stime of
// proc(5), in ticks of a hundredth of a second).
func Processor(t testing.TB, pid int) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	if len(fields) < 13 {
		t.Fatalf("/proc/%d/stat: %s", pid, data)
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
