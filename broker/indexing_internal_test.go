package broker

import (
	"testing"
	"time"

	"postbox/inbox"
)

// Senders wait for the index where it is far behind, and not before; never for so long
// that nothing is sent.
func TestRestForTheIndex(t *testing.T) {
	t.Parallel()
	const took = 10 * time.Millisecond
	for behind, want := range map[time.Duration]time.Duration{
		0: 0, 25 * time.Second: 0, 25500 * time.Millisecond: took, 26 * time.Second: 2 * took, time.Hour: 2 * took,
	} {
		if got := restFor(behind, took); got != want {
			t.Errorf("%v behind: %v, want %v", behind, got, want)
		}
	}
}

// The index gives way to senders that wait, the less the further it is behind, and
// hurries where nobody does.
func TestPauseOfTheIndex(t *testing.T) {
	t.Parallel()
	const took, many = 100 * time.Millisecond, inbox.Pressed
	for name, test := range map[string]struct {
		more         bool
		waiting      int
		behind, took time.Duration
		want         time.Duration
	}{
		"nothing to do":                  {false, many, 0, took, indexPause},
		"some more":                      {true, many - 1, time.Second, took, took},
		"a long round":                   {true, 0, time.Second, time.Minute, indexPause},
		"behind":                         {true, many - 1, 1100 * time.Millisecond, took, 0},
		"senders wait":                   {true, many, 0, took, indexGivesWay * took},
		"senders wait, a long round":     {true, many, 0, time.Minute, indexGivesWay * indexPause},
		"senders wait, half as patient":  {true, many, indexPatience / 2, took, indexGivesWay * took / 2},
		"senders wait, no more patience": {true, many, indexPatience, took, 0},
		"senders wait, far behind":       {true, many, time.Hour, took, 0},
	} {
		if got := pauseAfter(test.more, test.waiting, test.behind, test.took); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
