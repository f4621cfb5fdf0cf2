package proof

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Resident reads the resident memory of a process and its peak since the last
// ResetPeak, in bytes (VmRSS and VmHWM of proc(5)).
func Resident(t testing.TB, pid int) (now, peak int64) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			now = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			peak = kib << 10
		}
	}
	if now == 0 || peak == 0 {
		t.Fatalf("no VmRSS or VmHWM of process %d:\n%s", pid, data)
	}
	return now, peak
}

// ResetPeak makes the peak of a process start again at its present size.
func ResetPeak(t testing.TB, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200); err != nil {
		t.Fatal(err)
	}
}
