package broker

import (
	"testing"
	"time"
)

// Senders wait for the index before it is five seconds behind, and not before it is
// three; never for so long that nothing is sent.
func TestRestForTheIndex(t *testing.T) {
	t.Parallel()
	const took = 10 * time.Millisecond
	for behind, want := range map[time.Duration]time.Duration{
		0: 0, 3 * time.Second: 0, 3500 * time.Millisecond: took, 4 * time.Second: 2 * took, time.Hour: 2 * took,
	} {
		if got := restFor(behind, took); got != want {
			t.Errorf("%v behind: %v, want %v", behind, got, want)
		}
	}
}
