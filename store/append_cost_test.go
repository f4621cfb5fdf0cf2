package store_test

import (
	"fmt"
	"testing"

	"postbox"
	"postbox/internal/pgtest"
)

// BenchmarkAppend commits batches of one lane: direct messages of different pairs, or
// one to a room. It reports the processor time that PostgreSQL takes for a batch,
// which a busy machine does not blur as it does the time; there is no fsync in tests.
func BenchmarkAppend(b *testing.B) {
	const pairs, members = 64, 1000
	names := make([]postbox.User, members)
	for i := range names {
		names[i] = postbox.User(fmt.Sprint("user", i))
	}
	w := newWorld(b, names...)
	all := make([]stay, members)
	for i, name := range names {
		all[i] = stay{name, 0, 0}
	}
	room := w.room("hall", "all", 0, all...)
	direct := make([]postbox.ConversationID, pairs)
	for i := range direct {
		direct[i] = w.publish(names[2*i], names[2*i+1], "first").Message.Conversation
	}
	body := string(make([]byte, 100))
	l := w.lane(0)
	pid := 0
	measure := func(name string, next func(i int) []*postbox.Publish) {
		b.Run(name, func(b *testing.B) {
			for i := range 50 { // the statement is planned, the last numbers are known
				w.append(l, next(i)...)
			}
			if pid == 0 {
				pid = w.number(`SELECT pid FROM pg_stat_activity WHERE query LIKE '%FROM postbox.append(%' AND pid <> pg_backend_pid()`)
			}
			before, log := pgtest.ProcessorTime(b, pid), w.number(`SELECT pg_current_wal_insert_lsn() - '0/0'`)
			for i := 0; b.Loop(); i++ {
				w.append(l, next(i)...)
			}
			b.ReportMetric(float64((pgtest.ProcessorTime(b, pid)-before).Microseconds())/float64(b.N), "pg-cpu-µs/op")
			b.ReportMetric(float64(w.number(`SELECT pg_current_wal_insert_lsn() - '0/0'`)-log)/float64(b.N), "pg-log-bytes/op")
		})
	}
	for _, n := range []int{1, 16, 128} {
		measure(fmt.Sprint("direct=", n), func(i int) []*postbox.Publish {
			publishes := make([]*postbox.Publish, n)
			for k := range publishes {
				pair := (i*n + k) % pairs
				publishes[k] = w.draft(direct[pair], names[2*pair], names[2*pair+1], body)
				publishes[k].PacketID, publishes[k].QoS, publishes[k].Message.Device = uint16(i)+1, 1, "phone"
			}
			return publishes
		})
	}
	measure(fmt.Sprint("members=", members), func(i int) []*postbox.Publish {
		return []*postbox.Publish{w.roomDraft(room, "hall", names[0], body, names[1:]...)}
	})
}
