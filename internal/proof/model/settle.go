package model

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// settle lets everything arrive: all devices come back, send again what was not
// answered, and acknowledge what they get. Then it compares what only shows in
// the end.
func (w *world) settle() {
	w.mu.Lock()
	w.settling = true
	for _, d := range w.devices {
		if w.ctx.Err() != nil {
			break
		}
		d.comeBack()
	}
	w.until("everything published to be completed", func() bool {
		for _, d := range w.devices {
			if len(d.pending) > 0 {
				return false
			}
		}
		return true
	})
	w.mu.Unlock()
	limit := time.Now().Add(patience)
	for late := false; w.ctx.Err() == nil && !late; w.pause(50 * time.Millisecond) {
		seen := w.audit(w.ctx)
		w.mu.Lock()
		behind := w.behind()
		late = time.Now().After(limit)
		if late && (behind != "" || !seen) {
			w.fail("standstill", "after %v not all is delivered: %s", patience, behind)
		}
		w.mu.Unlock()
		if seen && behind == "" {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.judgeEntries()
	}
}

// comeBack brings a device back for the end.
func (d *device) comeBack() {
	r := rand.New(rand.NewPCG(0, 0))
	c := d.conn
	if d.online() && c.frozen {
		c.breakOff()
	}
	if !d.online() {
		if !d.connect(login{life: longLife, acks: ackAtOnce}, r) {
			return
		}
		c = d.conn
	}
	c.acks, c.autoRelease = ackAtOnce, true
	for _, p := range d.pending {
		if p.phase == received && p.waiting == 0 {
			c.put(c.release(p))
		}
	}
	if c.inst != nil && c.inst.maybe {
		c.unsubscribe()
	}
	if c.inst == nil || c.inst.opts.qos == 0 {
		c.ask(&request{inbox: true, opts: options{qos: 1}, since: -1, at: time.Now(), codes: []byte{1}}, d.subscribePacket())
	}
	c.acknowledgeAll()
}

// behind names a device that has not been given everything, or whose cursor is
// not saved; empty: there is none.
func (w *world) behind() string {
	for _, d := range w.devices {
		head, c := w.mirror.head(d.user), d.conn
		if c == nil || c.over || c.inst == nil {
			return fmt.Sprintf("%v is not subscribed", d)
		}
		known := c.inst.started || !d.pos.loose // else QoS 0 has moved it unseen
		if n := w.nextDue(d, max(d.pos.hi, d.pos.saved)); n > 0 && known {
			return fmt.Sprintf("%v is at %d of %d, and waits for %d; not acknowledged: %+v", d, d.pos.hi, head, n, c.inst.out)
		}
		if n := w.nextDue(d, d.pos.saved); n > 0 && c.session > 0 {
			return fmt.Sprintf("the cursor of %v is saved as %d of %d", d, d.pos.saved, head)
		}
	}
	return ""
}

// nextDue is the first number after a position that is due to a device; 0: none.
func (w *world) nextDue(d *device, at int64) int64 {
	i := d.conn.inst
	for n := at + 1; n <= w.mirror.head(d.user); n++ {
		r := w.mirror.entry(d.user, n)
		if i.opts.noLocal && r.sender == d.user && r.device == d.name || !r.expires.IsZero() && r.expires.Before(time.Now()) ||
			!d.pos.before.IsZero() && r.text.sent.Before(d.pos.before) {
			continue
		}
		return n
	}
	return 0
}

// judgeEntries: every message is in the inboxes of its conversation.
func (w *world) judgeEntries() {
	for id, all := range w.mirror.order {
		want := 2
		if r := all[0]; r.sender == r.text.to {
			want = 1
		}
		for _, r := range all {
			if r.entries != want {
				w.fail("rows", "message %s of conversation %d is in %d inboxes, want %d", r.id, id, r.entries, want)
			}
		}
	}
}
