package client

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"postbox"
)

// line is a ledger with one connection whose acknowledgements are noted.
type line struct {
	*ledger
	conn *link
	sent []string
}

func newLine() *line {
	l := &line{ledger: newLedger()}
	l.connect()
	return l
}

func (l *line) connect() {
	l.conn, l.sent = newLink(), nil
	l.begin(l.conn)
}

func (l *line) bring(e Envelope) (it *item, fresh, jumped bool) {
	conn := l.conn
	name := e.Type + " " + e.Position().String()
	it, fresh, jumped = l.arrived(conn, func() {
		if conn == l.conn {
			l.sent = append(l.sent, name)
		}
	}, &e)
	l.flush()
	return it, fresh, jumped
}

func entry(epoch postbox.Epoch, n postbox.InboxSeq) Envelope {
	return Envelope{Type: TypeMessage, Epoch: epoch, InboxSeq: n, After: n - 1}
}

func gap(epoch postbox.Epoch, after, next postbox.InboxSeq) Envelope {
	return Envelope{Type: TypeGap, Epoch: epoch, After: after, Next: next}
}

func TestLedgerKnowsWhatIsMissing(t *testing.T) {
	t.Parallel()
	l := newLine()
	for _, step := range []struct {
		e             Envelope
		fresh, jumped bool
	}{
		{entry("a", 5), true, false}, // the first says nothing of those before it
		{entry("a", 6), true, false},
		{entry("a", 6), false, false},
		{entry("a", 9), true, true},
		{Envelope{Type: TypeMessage, Epoch: "a", InboxSeq: 12, After: 9}, true, false}, // 10 and 11 were spared
		{gap("a", 12, 20), true, false},
		{gap("a", 12, 20), false, false},
		{entry("a", 20), true, false},
		{entry("a", 3), false, false},
	} {
		if _, fresh, jumped := l.bring(step.e); fresh != step.fresh || jumped != step.jumped {
			t.Errorf("%s %s: fresh %t, jumped %t, want %t, %t", step.e.Type, step.e.Position(), fresh, jumped, step.fresh, step.jumped)
		}
	}
}

func TestLedgerInANewEpoch(t *testing.T) {
	t.Parallel()
	l := newLine()
	old, _, _ := l.bring(entry("a", 7))
	it, fresh, _ := l.bring(gap("b", 0, 1))
	if !fresh {
		t.Fatal("the gap of the new epoch is not new")
	}
	// Until the gap is acknowledged, the place is the old one.
	l.acknowledge(old)
	if got, ok := l.resume(); !ok || got.String() != "a:7" {
		t.Errorf("resume = %s, %t, want a:7", got, ok)
	}
	if _, again, _ := l.bring(gap("b", 0, 1)); again {
		t.Error("the gap is new a second time")
	}
	l.acknowledge(it)
	if got, _ := l.resume(); got.String() != "b:0" {
		t.Errorf("resume = %s, want b:0", got)
	}
	if _, fresh, _ := l.bring(entry("b", 1)); !fresh {
		t.Error("number 1 of the new epoch is taken for an old one")
	}
	if want := []string{"message a:7", "gap b:0", "gap b:0"}; !slices.Equal(l.sent, want) {
		t.Errorf("acknowledged %q, want %q", l.sent, want)
	}
}

func TestLedgerResumesBehindTheAcknowledged(t *testing.T) {
	t.Parallel()
	l := newLine()
	if got, ok := l.resume(); ok {
		t.Errorf("resume before anything has arrived = %s", got)
	}
	var items []*item
	for n := postbox.InboxSeq(11); n <= 14; n++ {
		it, _, _ := l.bring(entry("a", n))
		items = append(items, it)
	}
	for _, step := range []struct {
		acknowledge int
		want        string
	}{{2, "a:10"}, {0, "a:11"}, {1, "a:13"}, {3, "a:14"}} {
		l.acknowledge(items[step.acknowledge])
		if got, ok := l.resume(); !ok || got.String() != step.want {
			t.Errorf("with %d acknowledged too: resume = %s, want %s", items[step.acknowledge].seq, got, step.want)
		}
	}
}

// Of a connection that is gone nothing counts, whenever it comes.
func TestLedgerIgnoresALateArrival(t *testing.T) {
	t.Parallel()
	l := newLine()
	gone := l.conn
	l.connect()
	e := entry("a", 1)
	if _, fresh, _ := l.arrived(gone, func() { t.Error("acknowledged on the connection that is gone") }, &e); fresh {
		t.Error("an arrival of a connection that is gone is taken")
	}
	l.skip(gone, func() { t.Error("acknowledged on the connection that is gone") })
	if _, fresh, _ := l.bring(e); !fresh {
		t.Error("the same entry on the new connection is not new")
	}
}

// Against a model: a server that sends from its cursor on, connections that
// are lost anywhere, a program that acknowledges in any order. Each entry is
// new once, acknowledgements go out in the order of arrival, none before the
// program's, and in the end the server's cursor is at the end.
func TestLedgerAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const total = 20
		l := newLine()
		cursor, next := 0, 1
		given := make(map[int]*item)
		acknowledged := make(map[int]bool)
		settle := func() {
			for _, name := range l.sent {
				var n int
				if _, err := fmt.Sscanf(name, "message a:%d", &n); err != nil {
					t.Fatal(err)
				}
				if n != cursor+1 {
					t.Fatalf("acknowledged %d behind %d", n, cursor)
				}
				if !acknowledged[n] {
					t.Fatalf("acknowledged %d, which the program has not", n)
				}
				cursor = n
			}
			l.sent = nil
		}
		deliver := func() {
			if next > total {
				return
			}
			it, fresh, jumped := l.bring(entry("a", postbox.InboxSeq(next)))
			if _, had := given[next]; fresh == had || jumped {
				t.Fatalf("entry %d: new %t, though the program has it: %t; jumped %t", next, fresh, had, jumped)
			}
			if fresh {
				given[next] = it
			}
			next++
		}
		lose := func() {
			next = cursor + 1 // what was sent and not seen by the server is sent again
			l.connect()
		}
		acknowledge := func(n int) {
			if it := given[n]; it != nil {
				acknowledged[n] = true
				l.acknowledge(it)
			}
		}
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				lose()
			case 1, 2, 3, 4:
				deliver()
			default:
				acknowledge(rapid.IntRange(1, total).Draw(t, "entry"))
			}
			if rapid.Bool().Draw(t, "the acknowledgements arrive") {
				settle()
			}
		}
		lose()
		for range total {
			deliver()
		}
		for n := total; n > 0; n-- {
			acknowledge(n)
		}
		settle()
		if cursor != total {
			t.Fatalf("in the end the cursor is at %d of %d", cursor, total)
		}
		if len(l.items) != 0 || len(l.open) != 0 || len(l.queue) != 0 {
			t.Fatalf("left over: %d items, %d open, %d queued", len(l.items), len(l.open), len(l.queue))
		}
	})
}
