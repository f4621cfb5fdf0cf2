package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// The less is alive the more the heap may grow, up to a floor in bytes and to
// nine times what is alive; where much is alive, it may double, as ever.
func TestGrowthOfTheHeap(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 100, 1: 800, 7 << 20: 800, 8 << 20: 700, 16 << 20: 300, 20 << 20: 220, 31 << 20: 100, 32 << 20: 100, 40 << 30: 100,
	} {
		if got := growthFor(live); got != want {
			t.Errorf("%d bytes alive may grow by %d %%, want %d", live, got, want)
		}
	}
}

// After each collection it is adjusted, unless the environment says otherwise. Not in
// parallel: it is that of the whole process.
func TestCollectLess(t *testing.T) {
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	t.Setenv("GOGC", "100")
	collectLess()
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	if p := percent(); p != usualPercent {
		t.Errorf("with GOGC=100 the heap may grow by %d %%", p)
	}
	t.Setenv("GOGC", "")
	collectLess()
	for limit := time.Now().Add(20 * time.Second); percent() == usualPercent; time.Sleep(10 * time.Millisecond) {
		if runtime.GC(); time.Now().After(limit) {
			t.Fatal("the heap may not grow by more than ever")
		}
	}
}
