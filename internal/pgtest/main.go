package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// stopTimeout bounds the end of a server; then it is stopped at once.
const stopTimeout = 30 * time.Second

// running says that Main will clean up.
var running atomic.Bool

// Main runs the tests, ends the shared server and exits. The exit code is 1 as
// well when a goroutine is left over after tests that passed.
func Main(m *testing.M) {
	running.Store(true)
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	err := shared.stop(ctx)
	cancel()
	if err == nil && code == 0 {
		// A listener of lib/pq that waits for the database when it is closed sleeps
		// out its second: longer than one look is patient.
		for range 3 {
			if err = goleak.Find(); err == nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}
