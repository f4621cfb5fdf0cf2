package proof

import (
	"database/sql"
	"slices"
	"strconv"
	"testing"
	"time"
)

// audit compares what the tap saw with what is stored, after everything was
// acknowledged: each message once, nothing else, in order.
type audit struct {
	t    *testing.T
	tap  *Tap
	db   *sql.DB
	same map[string]bool // devices whose messages all have one body
	// beside are devices that did not go through the tap.
	beside map[string]bool
}

// run checks and returns the number of messages stored.
func (a audit) run() int {
	a.t.Helper()
	rows := Messages(a.t, a.db, time.Time{})
	stored := map[MessageKey][]Row{}
	count := map[string]int{}
	rows = slices.DeleteFunc(rows, func(r Row) bool { return a.beside[r.Sender+"/"+r.Device] })
	for _, r := range rows {
		device := r.Sender + "/" + r.Device
		count[device]++
		key := MessageKey{device, r.Body}
		stored[key] = append(stored[key], r)
	}
	report := newReporter(a.t)
	onWire := 0
	for _, device := range a.tap.Log.Devices() {
		messages := a.tap.Log.Messages(device)
		onWire += len(messages)
		if got := count[device]; got != len(messages) {
			report.add("%s: %d rows for %d messages", device, got, len(messages))
		}
		for id, m := range messages {
			for _, s := range m.Sends {
				if s.Reason >= 0x80 {
					report.add("%s: message %.80q was refused with 0x%02x", device, id, s.Reason)
				}
			}
			if a.same[device] {
				continue
			}
			switch n := len(stored[MessageKey{device, id}]); {
			case n == 0 && !m.Answered.IsZero():
				report.add("%s: message %.80q was acknowledged and is not stored", device, id)
			case n == 0:
				report.add("%s: message %.80q is neither stored nor acknowledged", device, id)
			case n > 1:
				report.add("%s: message %.80q is stored %d times; its sends: %s", device, id, n, describe(m))
			}
		}
	}
	if onWire != len(rows) {
		report.add("%d rows for %d messages", len(rows), onWire)
	}
	for _, h := range Holes(a.t, a.db) {
		report.add("%s", h)
	}
	for _, f := range a.tap.Log.Faults() {
		report.add("%s", f)
	}
	a.order(report, stored)
	return len(rows)
}

// order checks that the messages of one connection to one conversation are
// numbered in the order in which they were published. Those that were sent
// more than once are left out: it is not known through which connection they
// were stored.
func (a audit) order(report *reporter, stored map[MessageKey][]Row) {
	resent := map[MessageKey]bool{}
	for _, device := range a.tap.Log.Devices() {
		for id, m := range a.tap.Log.Messages(device) {
			resent[MessageKey{device, id}] = len(m.Sends) > 1
		}
	}
	for _, c := range a.tap.Log.Conns() {
		if a.same[c.Device] {
			continue
		}
		last := map[int64]Row{}
		for _, s := range c.Sends {
			key := MessageKey{s.Device, s.Body}
			if resent[key] || len(stored[key]) != 1 {
				continue
			}
			r := stored[key][0]
			if before := last[r.Conversation]; r.Seq < before.Seq {
				report.add("connection %d of %s: %.60q was published after %.60q and has the number %d before %d",
					c.Number, c.Device, r.Body, before.Body, r.Seq, before.Seq)
			}
			last[r.Conversation] = r
		}
	}
}

// devices checks that each device of a user got the whole inbox.
func (a audit) devices(user string, ledgers ...*Ledger) {
	a.t.Helper()
	report := newReporter(a.t)
	inbox := Inbox(a.t, a.db, user)
	for _, l := range ledgers {
		l.WaitFor(a.t, int64(len(inbox)))
		l.Check(a.t)
		entries := l.Entries()
		if len(entries) != len(inbox) {
			report.add("%s: %d entries, want %d", l.Name, len(entries), len(inbox))
			continue
		}
		for i, e := range entries {
			if e.Type == "hole" {
				continue // reported by the ledger
			}
			body, err := e.Payload()
			row := inbox[i]
			if err != nil || e.InboxSeq != row.InboxSeq || e.ID != row.ID || e.Seq != row.Seq || e.From != row.Sender || string(body) != row.Body {
				report.add("%s: entry %+v with body %.60q (%v) differs from its row %+v", l.Name, e, body, err, row)
			}
		}
	}
}

// reporter reports the first faults of a kind and counts the others.
type reporter struct {
	t *testing.T
	n int
}

func newReporter(t *testing.T) *reporter {
	r := &reporter{t: t}
	t.Cleanup(func() {
		if r.n > 10 {
			t.Errorf("and %d more faults", r.n-10)
		}
	})
	return r
}

func (r *reporter) add(format string, args ...any) {
	r.t.Helper()
	if r.n++; r.n <= 10 {
		r.t.Errorf(format, args...)
	}
}

// describe tells the life of a message on the wire.
func describe(m Message) string {
	text := ""
	for _, s := range m.Sends {
		text += "\n  " + s.At.Format("15:04:05.000000")
		text += " connection " + strconv.Itoa(s.Conn) + " packet id " + strconv.Itoa(int(s.PacketID)) + " QoS " + strconv.Itoa(int(s.QoS))
		if s.Dup {
			text += " DUP"
		}
		if !s.Answered.IsZero() {
			text += ", acknowledged " + s.Answered.Format("15:04:05.000000")
		}
	}
	return text
}
