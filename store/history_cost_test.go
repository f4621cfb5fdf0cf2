package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"postbox"
	"postbox/internal/pgtest"
)

// cpu is how much processor time the benchmark has had so far, and the process of
// PostgreSQL behind the archive's only connection.
func (l *library) cpu(b *testing.B) (own, database time.Duration) {
	b.Helper()
	l.s.archive.db.SetMaxOpenConns(1)
	var pid int
	if err := l.s.archive.db.GetContext(b.Context(), &pid, `SELECT pg_backend_pid()`); err != nil {
		b.Fatal(err)
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), pgtest.ProcessorTime(b, pid)
}

// A page reads as many blocks at one depth as at any other, whatever the planner
// knows of the tables; a time is found with the more looks the longer the
// conversation is, but as if it were halved.
func TestPageOfHistoryCostsTheSameAnywhere(t *testing.T) {
	t.Parallel()
	const n, page = 200_000, 50
	l := newLibrary(t, n)
	var head int
	if err := l.s.db.GetContext(t.Context(), &head, `SELECT head FROM postbox.heads WHERE id = $1`, l.bob.Conversation); err != nil {
		t.Fatal(err)
	}
	if head < 110_000 {
		t.Fatalf("the conversation has %d messages", head)
	}
	for _, known := range []string{"nothing", "everything"} {
		if known == "everything" {
			l.exec(`ANALYZE postbox.messages`)
		}
		depths := []int{10, 1000, 50_000, 100_000}
		for _, way := range []string{"before", "after", "around"} {
			blocks := make([]int, len(depths))
			for i, depth := range depths {
				blocks[i] = l.pageBlocks(way, head-depth-page, page) // a whole page lies behind it
			}
			t.Logf("the planner knows %s: %v blocks for a page of %d %s a seq at depth %v", known, blocks, page, way, depths)
			if low, high := slices.Min(blocks), slices.Max(blocks); 5*high > 6*low || high > 3*page {
				t.Errorf("the planner knows %s: %v blocks for a page of %d %s a seq at depth %v", known, blocks, page, way, depths)
			}
		}
		for _, depth := range depths {
			var sent time.Time
			const look = `SELECT sent_at FROM postbox.messages WHERE conversation_id = $1 AND seq = $2`
			if err := l.s.db.GetContext(t.Context(), &sent, look, l.bob.Conversation, head-depth); err != nil {
				t.Fatal(err)
			}
			values := fmt.Sprintf("%d, '%s', true", l.bob.Conversation, sent.Format(time.RFC3339Nano))
			if blocks := l.explain(searchTime, values).blocks(); blocks > 20*6 {
				t.Errorf("the planner knows %s: %d blocks for a time at depth %d of %d", known, blocks, depth, head)
			}
		}
	}
}

// pageBlocks is how many blocks a page takes, by that of its two statements which
// takes more.
func (l *library) pageBlocks(way string, seq, limit int) int {
	l.t.Helper()
	down, up, downLimit, upLimit := seq-1, seq-1, limit, 0
	switch way {
	case "after":
		down, up, downLimit, upLimit = seq, seq, 0, limit
	case "around":
		downLimit, upLimit = limit/2, limit-limit/2
	}
	stretch := fmt.Sprintf("%d, 0, %d, %d, %d, %d, %d", l.bob.Conversation, down, downLimit, up, lastSeq, upLimit)
	small := l.explain(readPages, fmt.Sprintf("%s, %d", stretch, historyBytes/(limit+1))).blocks()
	large := l.explain(readWalk, fmt.Sprintf("%s, %d, %d, %d", stretch, lastSeq, historyBytes, historyBytes)).blocks()
	return max(small, large)
}

// BenchmarkPage reads pages of 50. Beside the time it reports the processor time
// of the store and of PostgreSQL, which a busy machine does not blur.
func BenchmarkPage(b *testing.B) {
	l := newLibrary(b, 200_000)
	l.exec(`ANALYZE postbox.messages`)
	for _, depth := range []postbox.Seq{10, 100_000} {
		b.Run(fmt.Sprint("depth=", depth), func(b *testing.B) {
			own, database := l.cpu(b)
			for b.Loop() {
				r := postbox.PageRequest{Limit: 50, Before: postbox.Bound{Seq: 115_000 - depth - rand.N(postbox.Seq(2000)), Set: true}}
				p, err := l.s.Page(b.Context(), l.bob, r)
				if err != nil || len(p.Messages) != 50 {
					b.Fatal(len(p.Messages), err)
				}
			}
			ownAfter, databaseAfter := l.cpu(b)
			b.ReportMetric(float64((ownAfter-own).Microseconds())/float64(b.N), "store-cpu-µs/op")
			b.ReportMetric(float64((databaseAfter-database).Microseconds())/float64(b.N), "pg-cpu-µs/op")
		})
	}
}
