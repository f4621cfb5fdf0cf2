package api_test

import (
	"testing"
	"time"

	"postbox"
	"postbox/api"
)

// A user has so many requests at once and then so many a second, whatever
// others do; what was refused is not counted.
func TestRates(t *testing.T) {
	t.Parallel()
	r, now := api.NewRates(4), time.Unix(1_000_000, 0)
	for i := range 4 {
		if wait := r.Take(1, now); wait != 0 {
			t.Errorf("request %d has to wait %v", i+1, wait)
		}
	}
	for range 10 {
		if wait := r.Take(1, now); wait != 250*time.Millisecond {
			t.Errorf("one too many: wait %v, want 250 ms", wait)
		}
	}
	if wait := r.Take(2, now); wait != 0 {
		t.Errorf("another user has to wait %v", wait)
	}
	now = now.Add(250 * time.Millisecond)
	if a, b := r.Take(1, now), r.Take(1, now); a != 0 || b == 0 {
		t.Errorf("a quarter of a second later: wait %v, then %v; want one more", a, b)
	}
	// Those who have not asked for long are forgotten: they have all again.
	for user := range postbox.UserID(100) {
		r.Take(user, now.Add(time.Hour))
	}
	for i := range 3 {
		if wait := r.Take(1, now.Add(time.Hour)); wait != 0 {
			t.Errorf("after an hour, request %d has to wait %v", i+2, wait)
		}
	}
	if wait := api.NewRates(0).Take(1, now); wait != 0 {
		t.Errorf("without a rate: wait %v", wait)
	}
}
