package inbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// desk is a hub on a database of its own, and what devices there are.
type desk struct {
	t   *testing.T
	db  *database
	hub *Hub
	// seen is the highest number that a device was handed.
	seen atomic.Int64
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, db: newDatabase()}
	d.hub = NewHub(d.db, "now", quiet())
	d.hub.Start()
	t.Cleanup(func() {
		if err := d.hub.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return d
}

// commit stores n messages from bob in alice's inbox and returns their drafts,
// as a lane hands them to the hub after the commit.
func (d *desk) commit(n int) []*Draft {
	return d.commitFrom(bob, "", n, nil)
}

// commitFrom stores messages in alice's inbox: from herself, on a device, they
// are her own.
func (d *desk) commitFrom(sender postbox.UserID, device string, n int, body []byte) []*Draft {
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	var group []*Draft
	for range n {
		m := &postbox.Message{Sender: sender, Device: device, Body: body}
		draft := &Draft{Publish: postbox.Publish{Message: m}}
		e := d.db.add(alice, m)
		m.Seq = postbox.Seq(e.InboxSeq)
		if sender == alice {
			draft.Publish.InboxSeq = e.InboxSeq
		} else {
			draft.Publish.InboxSeq = e.InboxSeq + 1000 // in an inbox that nobody looks at
			draft.Publish.Recipients, draft.Publish.InboxSeqs = []postbox.UserID{alice}, []postbox.InboxSeq{e.InboxSeq}
		}
		group = append(group, draft)
	}
	return group
}

// post hands committed messages to the devices.
func (d *desk) post(group []*Draft) { d.hub.deliver(group, nil) }

// device is a connected device: the outlet of its subscription. It notes what
// must not happen.
type device struct {
	desk   *desk
	sub    *Subscription
	window int
	qos    byte

	mu      sync.Mutex // guards the fields below
	busy    bool       // not ready
	closed  bool
	refuses func(d Delivery) bool
	got     []Delivery
	news    []string // in order: "3" an entry, "gap expired 3…7"
	unacked []pending
	flushed int // len(news) at the last Flush
	faults  []string
}

// pending is what a device has not acknowledged: an entry, or a gap that the
// cursor must not pass.
type pending struct {
	seq postbox.InboxSeq // the cursor stays below
	id  uint16
}

// connect subscribes a device of alice. It gets nothing before resume.
func (d *desk) connect(of Device, at Start) *device {
	d.t.Helper()
	v := &device{desk: d, window: of.Window, qos: of.QoS}
	of.User = alice
	sub, err := d.hub.Subscribe(d.t.Context(), of, at, v)
	if err != nil {
		d.t.Fatal(err)
	}
	v.sub = sub
	return v
}

// phone is a device with a session, a window of 10 and QoS 1.
func phone(window int) Device { return Device{ID: 5, Name: "phone", QoS: 1, Window: window} }

// Deliver implements Outlet.
func (v *device) Deliver(d Delivery) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.refuses != nil && v.refuses(d) {
		return false
	}
	v.check()
	v.got = append(v.got, d)
	for n := int64(d.Entry.InboxSeq); ; {
		if old := v.desk.seen.Load(); old >= n || v.desk.seen.CompareAndSwap(old, n) {
			break
		}
	}
	v.news = append(v.news, fmt.Sprint(d.Entry.InboxSeq))
	if d.QoS > 0 {
		v.unacked = append(v.unacked, pending{d.Entry.InboxSeq, d.Entry.InboxSeq.PacketID()})
	}
	return true
}

// Gap implements Outlet.
func (v *device) Gap(code postbox.Code, after, next postbox.InboxSeq, packetID uint16) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.check()
	v.news = append(v.news, fmt.Sprintf("gap %s %d…%d", code, after, next))
	if packetID <= postbox.DeliveryIDs {
		v.faults = append(v.faults, fmt.Sprintf("a gap with the packet id %d of an entry", packetID))
	}
	if v.qos > 0 {
		v.unacked = append(v.unacked, pending{next, packetID})
	}
	return true
}

func (v *device) check() {
	switch {
	case v.closed:
		v.faults = append(v.faults, "something came after the close")
	case v.busy:
		v.faults = append(v.faults, "something came although the connection was not ready")
	case v.qos > 0 && len(v.unacked) >= v.window:
		v.faults = append(v.faults, fmt.Sprintf("more than %d unacknowledged", v.window))
	}
}

// Flush implements Outlet.
func (v *device) Flush() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.flushed = len(v.news)
}

// Ready implements Outlet.
func (v *device) Ready() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.busy
}

func (v *device) setBusy(busy bool) {
	v.mu.Lock()
	v.busy = busy
	v.mu.Unlock()
	if !busy {
		v.sub.Resume()
	}
}

func (v *device) resume() *device {
	v.sub.Resume()
	return v
}

// ack acknowledges what is unacknowledged at place i, modulo how much there
// is. It reports false if there is nothing.
func (v *device) ack(i int) bool {
	v.mu.Lock()
	if len(v.unacked) == 0 {
		v.mu.Unlock()
		return false
	}
	i %= len(v.unacked)
	p := v.unacked[i]
	v.unacked = slices.Delete(v.unacked, i, i+1)
	v.mu.Unlock()
	if !v.sub.Ack(p.id) {
		v.fault("the acknowledgement of %+v was not taken", p)
	}
	v.bound()
	return true
}

// bound checks that the cursor has not passed what is not acknowledged.
func (v *device) bound() {
	cursor := v.sub.Cursor()
	v.mu.Lock()
	defer v.mu.Unlock()
	// What was handed over since is above the cursor, too.
	for _, p := range v.unacked {
		if cursor >= p.seq {
			v.faults = append(v.faults, fmt.Sprintf("the cursor is %d, and %+v is not acknowledged", cursor, p))
		}
	}
}

func (v *device) fault(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// ackAll acknowledges until nothing comes any more.
func (v *device) ackAll() {
	for {
		synctest.Wait()
		if !v.ack(0) {
			return
		}
		for v.ack(0) {
		}
	}
}

func (v *device) close() {
	v.sub.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
}

// want compares what the device was told, all of it flushed.
func (v *device) want(news ...string) {
	v.desk.t.Helper()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if diff := cmp.Diff(news, v.news); diff != "" {
		v.desk.t.Errorf("told: -want +got:\n%s", diff)
	}
	if v.flushed != len(v.news) {
		v.desk.t.Errorf("%d of %d flushed", v.flushed, len(v.news))
	}
	for _, f := range v.faults {
		v.desk.t.Error(f)
	}
	v.faults = nil
}

// wantCursor compares the device's cursor.
func (v *device) wantCursor(want postbox.InboxSeq) {
	v.desk.t.Helper()
	if got := v.sub.Cursor(); got != want {
		v.desk.t.Errorf("cursor %d, want %d", got, want)
	}
}

// numbers are from, from+1 … to.
func numbers(from, to int) (all []string) {
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}
