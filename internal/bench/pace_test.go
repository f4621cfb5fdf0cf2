package bench

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPaceGivesEachMessageToOneSender walks the timetable and compares it with
// what each sender reckons for itself.
func TestPaceGivesEachMessageToOneSender(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := pace{senders: rapid.IntRange(1, 60).Draw(t, "senders"), rate: rapid.Float64Range(0.1, 1e5).Draw(t, "rate")}
		sent := make([]uint32, p.senders)
		for range rapid.IntRange(0, 300).Draw(t, "messages") {
			sender, before := p.released%p.senders, p.next()
			if due := p.due(sender, sent[sender]); due != before {
				t.Fatalf("message %d: sender %d says %d ns, the timetable %d", p.released, sender, due, before)
			}
			p.released++
			sent[sender]++
			if p.next() < before {
				t.Fatalf("message %d comes before the one ahead of it", p.released)
			}
		}
		for sender, want := range sent {
			if got := p.releasedTo(sender); got != want {
				t.Fatalf("after %d messages sender %d may send up to %d, want %d", p.released, sender, got, want)
			}
		}
	})
}
