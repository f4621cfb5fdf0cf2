package pgtest

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// ProcessorTime is what a process of PostgreSQL on this machine has had so far; zero
// if it is on another one, or the system does not tell.
func ProcessorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0
	}
	var ns int64
	if _, err := fmt.Sscan(string(text), &ns); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns)
}
