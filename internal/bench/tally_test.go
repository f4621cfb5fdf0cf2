package bench

import "testing"

// TestWindow walks one tally through warm-up, window and drain.
func TestWindow(t *testing.T) {
	t.Parallel()
	tally := tally{from: openEnded, to: openEnded}
	tally.acknowledgedAt(90, 80) // warm-up

	tally.measuring, tally.from = true, 100
	tally.acknowledgedAt(110, 95) // sent before: counts for the rate alone
	tally.acknowledgedAt(120, 100)
	tally.deliveredAt(130, 100)

	tally.measuring, tally.to = false, 200
	tally.acknowledgedAt(250, 199) // on its way at the end: for latency alone
	tally.deliveredAt(260, 199)
	tally.deliveredAt(270, 200)

	if tally.acknowledged != 2 || tally.delivered != 1 {
		t.Errorf("%d acknowledged, %d delivered", tally.acknowledged, tally.delivered)
	}
	if h := &tally.acknowledgement; h.total != 2 || h.max != 51 {
		t.Errorf("acknowledgement: %d, longest %d", h.total, h.max)
	}
	if h := &tally.endToEnd; h.total != 2 || h.max != 61 {
		t.Errorf("end to end: %d, longest %d", h.total, h.max)
	}
}
