package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What is wrong with what a device gets that comes back is found.
func TestCatchUpFaults(t *testing.T) {
	t.Parallel()
	entry := func(seq, to int64, sender uint16, counter uint32) string {
		b := newBody(60)
		stamp{run: 7, sender: sender, counter: counter, sent: to}.put(b)
		return fmt.Sprintf(`{"inbox_seq":%d,"epoch":"x","type":"message","seq":3,"body":"%s"}`, seq, b)
	}
	whole := []string{entry(5, 0, 0, 0), entry(6, 0, 1, 0), entry(7, 0, 0, 1), entry(8, 0, 1, 1)}
	for want, payloads := range map[string][]string{
		"": whole,
		"1 messages missing at a device that came back": whole[:3],
		"1 messages repeated":                           append(whole[:4:4], entry(9, 0, 1, 1)),
		"1 messages out of order":                       {entry(5, 0, 0, 1), entry(6, 0, 0, 0), entry(7, 0, 1, 0), entry(8, 0, 1, 1)},
		"1 messages at the wrong device":                append(whole[:4:4], entry(9, 1, 1, 1)),
		"1 bodies not as they were sent":                append(whole[:4:4], strings.ReplaceAll(entry(9, 0, 1, 1), "abc", "abd")),
		"1 holes in the numbers of an inbox":            {whole[0], whole[1], whole[2], entry(9, 0, 1, 1)},
	} {
		c := &catchUp{o: CatchUpOptions{BodySize: 60}, run: 7, each: 2, padding: newBody(60)[MinBodySize:], began: time.Now(), report: &CatchUpRun{Entries: 4}}
		d := &returning{streams: make([]stream, 2)}
		c.returns = []*returning{d}
		for _, p := range payloads {
			d.take(c, []byte(p))
		}
		c.sum()
		if got := strings.Join((&CatchUpReport{One: c.report}).Faults(), "; "); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

// The share of senders is of their rate before, in straight lines between glimpses.
func TestRateOf(t *testing.T) {
	t.Parallel()
	g := []glimpse{{time.Second, 100}, {2 * time.Second, 200}, {4 * time.Second, 300}}
	for _, test := range []struct {
		from, to time.Duration
		want     float64
	}{{0, 2 * time.Second, 100}, {2 * time.Second, 4 * time.Second, 50}, {1500 * time.Millisecond, 3 * time.Second, 100 / 1.5}, {time.Second, time.Second, 0}} {
		if got := rateOf(g, test.from, test.to); got < test.want-0.01 || got > test.want+0.01 {
			t.Errorf("%v to %v: %v, want %v", test.from, test.to, got, test.want)
		}
	}
}
