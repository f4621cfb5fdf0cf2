package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Go collects garbage when the heap is twice what is alive. A server that holds
// little of itself, most of which passes through, would collect ten times a second,
// for a sixth of its processor time.
const (
	heapFloor    = 64 << 20 // bytes to which the heap may grow before it is collected
	usualPercent = 100      // that what is alive may grow by; where there is much, as ever
	mostPercent  = 800
)

// collectLess lets the heap of this process grow to heapFloor, from now on, unless the
// environment says how it shall be collected (GOGC; pkg.go.dev/runtime).
func collectLess() {
	if os.Getenv("GOGC") == "" {
		(&collector{percent: usualPercent}).afterNext()
	}
}

// collector adjusts after each collection how far the heap may grow until the next.
type collector struct{ percent int }

// afterNext adjusts when this collection is over, and so on.
func (c *collector) afterNext() {
	runtime.AddCleanup(&struct{ p *collector }{c}, func(c *collector) {
		if p := growthFor(liveHeap()); p != c.percent {
			c.percent = p
			debug.SetGCPercent(p)
		}
		c.afterNext()
	}, c)
}

// growthFor is by how many percent so many live bytes may grow.
func growthFor(live uint64) int {
	if live == 0 {
		return usualPercent
	}
	p := max(usualPercent, min(mostPercent, heapFloor*100/int(live)-100))
	return p / 20 * 20 // not a new one for each collection
}

func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
