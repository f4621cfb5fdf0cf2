package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"postbox"
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
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0, 0 // another machine, or another system
	}
	var ns int64
	if _, err := fmt.Sscan(string(text), &ns); err != nil {
		b.Fatal(err)
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), time.Duration(ns)
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
