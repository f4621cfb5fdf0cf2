package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// What is offered is done, what waits for others counts as late and makes the rate
// smaller, and what went wrong is told.
func TestOffered(t *testing.T) {
	t.Parallel()
	o := offer{kind: "x", rate: 100, workers: 1, warmUp: 50 * time.Millisecond, duration: 100 * time.Millisecond}
	p, err := o.run(t.Context(), func(ctx context.Context, _, n int) (string, error) {
		if n == 5 { // the others are behind it
			return "slow", wait(ctx, 200*time.Millisecond)
		}
		return "", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.Latency.Count != 10 || p.Offered != 100 || p.Done > 60 || p.Wrong != 1 || p.First != "slow" || p.Latency.Max < 199 || p.Latency.P50 < 100 {
		t.Errorf("%+v", p)
	}
	if _, err := o.run(t.Context(), func(context.Context, int, int) (string, error) { return "", errors.New("gone") }); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
}

// By how much a target is missed is said.
func TestTarget(t *testing.T) {
	t.Parallel()
	r := MixedReport{Alone: &Report{EndToEnd: Latency{P50: 1.5, P99: 30}}}
	if got := r.Target(); got != "p50 1.50 of 2 ms: met; p99 30.0 ms: 2.0 times the 15 ms to reach" {
		t.Error(got)
	}
}
