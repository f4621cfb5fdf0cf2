package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when the heap is twice what is alive. A server that holds
// little of itself, most of which passes through, would collect ten times a second,
// for a tenth of its processor time.
const (
	heapFloor    = 32 << 20 // bytes to which the heap may grow before it is collected
	usualPercent = 100      // that what is alive may grow by; where there is much, as ever
	mostPercent  = 800
)

// After a storm Go keeps as much memory as the next one would need, for long: of
// 10,000 connections a fifth of what they take. It is given back when nothing
// needs it: while little is allocated, and if it is worth a collection.
const (
	giveBackOften  = 5 * time.Second
	giveBackPause  = time.Minute // from one time to the next
	giveBackLeast  = 32 << 20    // bytes
	giveBackActive = 8           // allocating more than this part of it in giveBackOften is too much
)

// tendMemory lets the heap of this process grow to heapFloor from now on, unless the
// environment says how it shall be collected (GOGC; pkg.go.dev/runtime), and gives
// memory back to the system while little goes on; both until ctx ends.
func tendMemory(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		(&collector{ctx, usualPercent}).afterNext()
	}
	go func() {
		ticks := time.NewTicker(giveBackOften)
		defer ticks.Stop()
		for g := new(giver); ; {
			select {
			case <-ctx.Done():
				return
			case now := <-ticks.C:
				if g.due(memoryNow(), now) {
					debug.FreeOSMemory()
				}
			}
		}
	}()
}

// collector adjusts after each collection how far the heap may grow until the next.
type collector struct {
	ctx     context.Context
	percent int
}

// afterNext adjusts when this collection is over, and so on.
func (c *collector) afterNext() {
	runtime.AddCleanup(&struct{ p *collector }{c}, func(c *collector) {
		if c.ctx.Err() != nil {
			return
		}
		if p := growthFor(memoryNow().live); p != c.percent {
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
	p := min(mostPercent+100, uint64(heapFloor)*100/live) // of the goal
	return int(max(usualPercent+100, p)-100) / 20 * 20    // not a new one for each collection
}

// giver decides when memory is given back.
type giver struct {
	allocated uint64 // when it was asked last
	last      time.Time
}

// due is to be asked each giveBackOften.
func (g *giver) due(m memory, now time.Time) bool {
	allocated := m.allocated - g.allocated
	g.allocated = m.allocated
	unused := m.free
	if m.objects > m.live {
		unused += m.objects - m.live
	}
	if unused < max(giveBackLeast, m.live/8) || allocated > unused/giveBackActive || now.Sub(g.last) < giveBackPause {
		return false
	}
	g.last = now
	return true
}

// memory is what the runtime tells of this process, in bytes.
type memory struct {
	live      uint64 // after the last collection
	objects   uint64 // live, or not collected yet
	free      uint64 // not in use, and not given back
	allocated uint64 // ever
}

func memoryNow() memory {
	var m memory
	into := []*uint64{&m.live, &m.objects, &m.free, &m.allocated}
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	for i, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 { // of a later Go they may be called otherwise
			*into[i] = s.Value.Uint64()
		}
	}
	return m
}
