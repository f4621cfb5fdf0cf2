package broker

import (
	"errors"
	"testing"
	"time"
)

// A database that answers with an error is away from then on; one that does not
// answer, since it was asked.
func TestOutageBegins(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for name, test := range map[string]struct {
		asked time.Duration // ago
		want  time.Duration // ago
	}{
		"refused":   {asked: time.Second, want: 0},
		"no answer": {asked: askPatience + time.Second, want: askPatience + time.Second},
	} {
		o := outage{asked: time.Now().Add(-test.asked)}
		o.hear(away)
		since := o.since()
		if off := time.Since(since) - test.want; off < 0 || off > test.asked/2 {
			t.Errorf("%s: away since %v, want %v", name, time.Since(since), test.want)
		}
		o.ask()
		if o.hear(away); o.since() != since {
			t.Errorf("%s: a second failure moves the beginning", name)
		}
		if o.hear(nil); !o.since().IsZero() {
			t.Errorf("%s: still away after an answer", name)
		}
	}
}
