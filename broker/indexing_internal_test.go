package broker

import (
	"testing"
	"time"

	"postbox/inbox"
)

// Senders wait for the index where it is far behind, or much waits for it, and not
// before; never for so long that nothing is sent.
func TestRestForTheIndex(t *testing.T) {
	t.Parallel()
	const took = 10 * time.Millisecond
	for _, test := range []struct {
		behind time.Duration
		full   float64
		want   time.Duration
	}{
		{0, 0, 0}, {25 * time.Second, 0.75, 0},
		{25500 * time.Millisecond, 0, took}, {26 * time.Second, 0, 2 * took}, {time.Hour, 0, 2 * took},
		{0, 0.875, took}, {0, 1, 2 * took}, {26 * time.Second, 0.875, 2 * took},
	} {
		if got := restFor(test.behind, test.full, took); got != test.want {
			t.Errorf("%v behind, %v full: %v, want %v", test.behind, test.full, got, test.want)
		}
	}
}

// The index gives way to senders that wait, the less the further it is behind, and
// hurries where nobody does.
func TestPauseOfTheIndex(t *testing.T) {
	t.Parallel()
	const took, many = 100 * time.Millisecond, inbox.Pressed
	for name, test := range map[string]struct {
		more    bool
		waiting int
		behind  time.Duration
		full    float64
		took    time.Duration
		want    time.Duration
	}{
		"nothing to do":                  {false, many, 0, 0, took, indexPause},
		"some more":                      {true, many - 1, time.Second, 0.5, took, took},
		"a long round":                   {true, 0, time.Second, 0, time.Minute, indexPause},
		"behind":                         {true, many - 1, 1100 * time.Millisecond, 0, took, 0},
		"senders wait":                   {true, many, 0, 0, took, indexGivesWay * took},
		"senders wait, a long round":     {true, many, 0, 0, time.Minute, indexGivesWay * indexPause},
		"senders wait, half as patient":  {true, many, indexPatience / 2, 0, took, indexGivesWay * took / 2},
		"senders wait, half as much":     {true, many, 0, indexFull / 2, took, indexGivesWay * took / 2},
		"senders wait, no more patience": {true, many, indexPatience, 0, took, 0},
		"senders wait, no more room":     {true, many, 0, 1, took, 0},
		"senders wait, far behind":       {true, many, time.Hour, 0, took, 0},
	} {
		if got := pauseAfter(test.more, test.waiting, test.behind, test.full, test.took); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
