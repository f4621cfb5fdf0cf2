package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// The less is alive the more the heap may grow, up to a floor in bytes and to
// nine times what is alive; where much is alive, it may double, as ever.
func TestGrowthOfTheHeap(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 100, 1: 800, 3 << 20: 800, 4 << 20: 700, 8 << 20: 300, 10 << 20: 220, 15 << 20: 100, 16 << 20: 100, 40 << 30: 100,
	} {
		if got := growthFor(live); got != want {
			t.Errorf("%d bytes alive may grow by %d %%, want %d", live, got, want)
		}
	}
}

// After each collection it is adjusted, unless the environment says otherwise. Not in
// parallel: it is that of the whole process.
func TestTendMemory(t *testing.T) {
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := debug.SetGCPercent(usualPercent) // a server of another test may have left another
	t.Cleanup(func() { debug.SetGCPercent(before) })
	t.Setenv("GOGC", "100")
	tendMemory(t.Context())
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	if p := percent(); p != usualPercent {
		t.Errorf("with GOGC=100 the heap may grow by %d %%", p)
	}
	t.Setenv("GOGC", "")
	tendMemory(t.Context())
	for limit := time.Now().Add(20 * time.Second); percent() == usualPercent; time.Sleep(10 * time.Millisecond) {
		if runtime.GC(); time.Now().After(limit) {
			t.Fatal("the heap may not grow by more than ever")
		}
	}
}

// Memory is given back when there is enough of it that nobody uses, little is
// allocated, and it was not just done.
func TestWhenMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	start := time.Now()
	for name, c := range map[string]struct {
		m     memory
		after time.Duration // the time before
		want  bool
	}{
		"free":                       {memory{live: 50 * mib, objects: 50 * mib, free: 40 * mib, allocated: 4 * mib}, time.Hour, true},
		"not collected yet":          {memory{live: 50 * mib, objects: 90 * mib, allocated: 4 * mib}, time.Hour, true},
		"together":                   {memory{live: 50 * mib, objects: 70 * mib, free: 20 * mib, allocated: 4 * mib}, time.Hour, true},
		"little":                     {memory{live: 50 * mib, objects: 50 * mib, free: 20 * mib}, time.Hour, false},
		"little beside what is live": {memory{live: 800 * mib, objects: 800 * mib, free: 60 * mib}, time.Hour, false},
		"busy":                       {memory{live: 50 * mib, objects: 50 * mib, free: 40 * mib, allocated: 6 * mib}, time.Hour, false},
		"just done":                  {memory{live: 50 * mib, objects: 50 * mib, free: 40 * mib, allocated: 4 * mib}, 30 * time.Second, false},
	} {
		g := giver{last: start}
		if got := g.due(c.m, start.Add(c.after)); got != c.want {
			t.Errorf("%s: given back: %v", name, got)
		}
	}
	// What counts is what was allocated since it was asked last.
	var g giver
	m := memory{live: 50 * mib, objects: 50 * mib, free: 40 * mib, allocated: 1000 * mib}
	if g.due(m, start) {
		t.Error("given back though much was allocated")
	}
	if !g.due(m, start.Add(giveBackOften)) {
		t.Error("not given back though nothing was allocated any more")
	}
}
