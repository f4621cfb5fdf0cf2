package inbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postbox"
)

// step is one thing that happens, drawn before the run so that it can be
// repeated and made smaller.
type step struct {
	What      string
	Who, N    int
	Then      bool // everything comes to rest before the next step
	NoLocal   bool
	QoS       byte
	StartAt   int
	LargeBody bool
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		What: rapid.SampledFrom([]string{
			"connect", "commit", "ack", "post", "since", "ack all", "own", "busy", "post", "lose", "close", "fail", "pause",
			"ready", "connect", "commit", "ack", "post", "ack all",
		}).Draw(t, "what"),
		Who:       rapid.IntRange(0, 2).Draw(t, "who"),
		N:         rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 1500)).Draw(t, "n"),
		Then:      rapid.IntRange(0, 3).Draw(t, "then") == 0,
		NoLocal:   rapid.Bool().Draw(t, "no local"),
		QoS:       byte(min(1, rapid.IntRange(0, 3).Draw(t, "qos"))),
		StartAt:   rapid.IntRange(0, 100).Draw(t, "start"),
		LargeBody: rapid.IntRange(0, 5).Draw(t, "large") == 0,
	}
})

// Every subscription gets every entry after its start that is due to it once
// and in order, whatever else happens: entries that arrive out of order, in
// the middle of a page or not at all, acknowledgements out of order, full
// windows and busy connections, failing reads, and devices that come and go.
// A cursor never passes what is not acknowledged, and is never saved
// backwards.
func TestEveryEntryOnceInOrder(t *testing.T) {
	t.Parallel()
	met := make(map[string]int)
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(steps, 20, 120).Draw(rt, "steps")
		seed := rapid.Uint64().Draw(rt, "seed")
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = runModel(t, all, seed, met) })
		if len(faults) > 0 {
			rt.Fatalf("%s", strings.Join(faults, "\n"))
		}
	})
	t.Logf("met: %v", met)
	for _, what := range []string{"commit", "post", "lose", "connect", "since", "ack", "busy", "close", "fail", "read", "waited"} {
		if met[what] < 20 {
			t.Errorf("%s happened only %d times", what, met[what])
		}
	}
}

// model is a run: a desk with three devices of alice and two lanes, each at
// work in a goroutine of its own.
type model struct {
	desk  *desk
	lanes [2]chan []*Draft
	seats [3]*seat
	work  sync.WaitGroup
	met   map[string]int
}

// jumpyReader takes its time, and what it says may be old by then.
type jumpyReader struct {
	*database
	mu     sync.Mutex // guards random
	random *rand.Rand
}

func (r *jumpyReader) dawdle() {
	r.mu.Lock()
	pause := time.Duration(r.random.IntN(50)) * time.Millisecond
	r.mu.Unlock()
	time.Sleep(pause)
}

// Head implements Reader.
func (r *jumpyReader) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	defer r.dawdle()
	return r.database.Head(ctx, user)
}

// Entries implements Reader.
func (r *jumpyReader) Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	r.dawdle()
	defer r.dawdle()
	return r.database.Entries(ctx, user, after, upTo, limit)
}

// seat is where a device sits, one connection after the other.
type seat struct {
	model  *model
	id     postbox.DeviceID
	tasks  chan func()
	random *rand.Rand

	mu     sync.Mutex // guards the fields below
	now    *device
	of     Device
	start  postbox.InboxSeq
	faults []string
}

func runModel(t *testing.T, all []step, seed uint64, met map[string]int) []string {
	d := newDesk(t)
	m := &model{desk: d, met: met}
	d.hub.reader = &jumpyReader{database: d.db, random: rand.New(rand.NewPCG(seed, 0))}
	for i := range m.lanes {
		m.lanes[i] = make(chan []*Draft, len(all)+1)
		m.work.Go(func() {
			for group := range m.lanes[i] {
				d.post(group)
			}
		})
	}
	for i := range m.seats {
		s := &seat{model: m, id: postbox.DeviceID(i), tasks: make(chan func(), 4*len(all)+100), random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		m.seats[i] = s // the first has no session
		m.work.Go(func() {
			for task := range s.tasks {
				task()
			}
		})
	}
	waiting := [2][][]*Draft{}
	for _, s := range all {
		m.apply(s, &waiting)
		if s.Then {
			synctest.Wait()
		}
	}
	m.drain(&waiting)
	for i := range m.lanes {
		close(m.lanes[i])
	}
	var faults []string
	for _, s := range m.seats {
		close(s.tasks)
	}
	m.work.Wait()
	for _, s := range m.seats {
		s.finish(true)
		faults = append(faults, s.faults...)
	}
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	met["read"] += d.db.reads
	return faults
}

func (m *model) apply(s step, waiting *[2][][]*Draft) {
	d, at, lane := m.desk, m.seats[s.Who], s.Who%2
	m.met[s.What]++
	switch s.What {
	case "commit", "own":
		from, device := bob, ""
		if s.What == "own" {
			from, device = alice, fmt.Sprint("device ", s.StartAt%3)
		}
		var body []byte
		if s.LargeBody {
			body = megabyte[:100<<10]
		}
		waiting[lane] = append(waiting[lane], d.commitFrom(from, device, 1+s.N%600, body))
	case "post", "lose":
		if len(waiting[lane]) > 0 {
			if s.What == "post" {
				m.lanes[lane] <- waiting[lane][0]
			}
			waiting[lane] = waiting[lane][1:]
		}
	case "connect", "since":
		at.tasks <- func() { at.connect(s) }
	case "ack":
		at.tasks <- func() {
			for range 1 + s.N%20 {
				at.ack(false)
			}
		}
	case "ack all":
		at.tasks <- func() { at.ack(true) }
	case "busy", "ready":
		at.tasks <- func() { at.device(func(v *device) { v.setBusy(s.What == "busy") }) }
	case "close":
		at.tasks <- func() { at.finish(false) }
	case "fail":
		left := s.N % 5
		d.db.set(func() {
			d.db.failRead = func() error {
				if left--; left >= 0 {
					return errAway
				}
				return nil
			}
		})
	case "pause":
		time.Sleep(time.Duration(s.N) * time.Millisecond)
		m.met["waited"]++
	}
}

// drain lets everything arrive and be acknowledged.
func (m *model) drain(waiting *[2][][]*Draft) {
	for lane := range waiting {
		for _, group := range waiting[lane] {
			m.lanes[lane] <- group
		}
	}
	var idle sync.WaitGroup
	for _, s := range m.seats {
		idle.Add(1)
		s.tasks <- idle.Done
	}
	idle.Wait()
	synctest.Wait()
	m.lanes[0] <- m.desk.commit(1) // it shows that others were lost
	for range 10_000 {
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		done := true
		for _, s := range m.seats {
			s.device(func(v *device) {
				v.setBusy(false)
				s.ack(true)
				done = done && v.sub.Cursor() == m.desk.db.head(alice)
			})
		}
		if done {
			return
		}
	}
}

// device runs f on the device that is connected, if one is.
func (s *seat) device(f func(v *device)) {
	s.mu.Lock()
	v := s.now
	s.mu.Unlock()
	if v != nil {
		f(v)
	}
}

// connect ends the connection there is and makes another: where the device
// was, or where it says it is.
func (s *seat) connect(c step) {
	s.finish(false)
	d := s.model.desk
	at := Start{After: d.db.cursor(s.id), Resumed: true}
	head := d.db.head(alice)
	switch {
	case c.What == "since":
		at = Start{After: head * postbox.InboxSeq(c.StartAt) / 100}
	case s.id == 0:
		at = Start{AtEnd: true}
	}
	of := Device{ID: s.id, Name: fmt.Sprint("device ", s.id), QoS: c.QoS, NoLocal: c.NoLocal, Window: 1 + c.N%70}
	v := d.connect(of, at)
	start := v.sub.Cursor()
	if !at.AtEnd && start < at.After || !at.Resumed && !at.AtEnd && start != at.After || start > d.db.head(alice) {
		s.fault("asked to start at %+v with %d entries, started after %d", at, head, start)
	}
	s.mu.Lock()
	s.now, s.of, s.start = v, of, start
	s.mu.Unlock()
	v.resume()
}

// ack acknowledges one delivery, any of them, or all.
func (s *seat) ack(all bool) {
	s.device(func(v *device) {
		for v.ack(s.random.IntN(1<<20)) && all {
		}
	})
}

// due are the numbers that a device gets.
func (s *seat) due() (all []postbox.InboxSeq) {
	db := s.model.desk.db
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, e := range db.logs[alice][s.start:] {
		if !s.of.NoLocal || !e.Own || e.Message.Device != s.of.Name {
			all = append(all, e.InboxSeq)
		}
	}
	return all
}

// finish ends the connection and compares what came through it.
func (s *seat) finish(complete bool) {
	s.device(func(v *device) {
		cursor := v.sub.Cursor()
		v.close()
		due := s.due()
		v.mu.Lock()
		defer v.mu.Unlock()
		var got []postbox.InboxSeq
		after := s.start
		for i, d := range v.got {
			got = append(got, d.Entry.InboxSeq)
			if d.Entry.Message.Seq != postbox.Seq(d.Entry.InboxSeq) {
				s.fault("number %d came with the message of %d", d.Entry.InboxSeq, d.Entry.Message.Seq)
			}
			if d.After != after {
				s.fault("number %d came after %d, the last one was %d", d.Entry.InboxSeq, d.After, after)
			}
			if d.Dup && i > s.of.Window && s.of.QoS > 0 {
				s.fault("number %d is marked as sent before", d.Entry.InboxSeq)
			}
			after = d.Entry.InboxSeq
		}
		switch {
		case len(got) > len(due) || !slices.Equal(got, due[:len(got)]):
			s.fault("after %d, with %+v: got %v, due %v", s.start, s.of, got, due)
		case complete && len(got) < len(due):
			s.fault("after %d, with %+v: got %d of %d", s.start, s.of, len(got), len(due))
		case complete && cursor != s.model.desk.db.head(alice):
			s.fault("all is acknowledged, and the cursor is %d", cursor)
		}
		if n := len(v.news) - len(v.got); n > 0 {
			s.fault("%d gaps: %v", n, v.news)
		}
		if len(v.unacked) > 0 && cursor >= v.unacked[0].seq {
			s.fault("the cursor is %d, and not acknowledged is %v", cursor, v.unacked)
		}
		for _, f := range v.faults {
			s.fault("%s", f)
		}
		s.mu.Lock()
		s.now = nil
		s.mu.Unlock()
	})
}

func (s *seat) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf("device %d: %s", s.id, fmt.Sprintf(format, args...)))
}
