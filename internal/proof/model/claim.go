package model

import "time"

// claim is what follows from a delivery and must be confirmed by the rows:
// something about the entries after from, up to to.
type claim struct {
	d        *device
	kind     claimKind
	from, to int64
	before   time.Time // passed: or published before this moment
	noLocal  bool      // passed, lost: its own count as spared
	at       time.Time // what had expired by then counts as spared
}

type claimKind int

const (
	passed claimKind = iota // the device was spared them
	lost                    // they were removed, or spared
	new_                    // they were not there long before
)

// longBefore is how much earlier than a first subscription an entry must have
// been acknowledged to be history to it. The news of an entry reaches the
// devices right after its acknowledgement.
const longBefore = 10 * time.Second

// judgeClaim compares a claim with the rows. w.mu is held.
func (w *world) judgeClaim(c claim) {
	user := c.d.user
	// A position that was the end of the inbox once is not followed back for ever.
	for n := max(c.from, c.to-500) + 1; n <= c.to && w.found == nil; n++ {
		r := w.mirror.entry(user, n)
		if r == nil {
			w.fail("rows", "%v was told of %d, the inbox ends with %d", c.d, n, w.mirror.head(user))
			return
		}
		spared := c.noLocal && r.sender == user && r.device == c.d.name || !r.expires.IsZero() && !r.expires.After(c.at)
		switch {
		case c.kind == new_:
			if p := r.text; !p.tick && !p.known.IsZero() && p.known.Before(c.at.Add(-longBefore)) {
				w.fail("order", "%v: its first subscription began with %d, which was acknowledged %v before", c.d, n, c.at.Sub(p.known))
			}
		case spared:
		case c.kind == lost && n <= w.removed[user]:
		case c.kind == passed && !c.before.IsZero() && r.text.sent.Before(c.before):
		case c.kind == lost:
			w.fail("gap", "%v was told that %d is lost, which is there: message %s", c.d, n, r.id)
		default:
			w.fail("silent gap", "%v was not given %d: message %s of %s/%s (%.24q), expires %v; after %d nothing was due up to %d",
				c.d, n, r.id, r.sender, r.device, r.text.body, r.expires, c.from, c.to)
		}
	}
}

// judgeAnswer: what was acknowledged is stored.
func (w *world) judgeAnswer(p *publish) {
	x := p.text
	if x.known.IsZero() {
		x.known = p.answered
	}
	switch {
	case x.key != "":
		if use := w.book.keys[x.sender+" "+x.key]; use.row == nil {
			w.fail("acknowledged and not stored", "%v: publish %d with key %s", p.d, p.n, x.key)
		} else if use.row.text != x {
			w.fail("conflict not noticed", "%v: publish %d with key %s was acknowledged, stored is message %s, which says %.24q",
				p.d, p.n, x.key, use.row.id, use.row.text.body)
		}
	case !x.tick && len(x.rows) == 0:
		w.fail("acknowledged and not stored", "%v: publish %d (id %d, qos %d) %.24q was acknowledged %v ago, in answer to attempt %d; the answer names %q, which says %.24q",
			p.d, p.n, p.id, p.qos, x.body, time.Since(p.answered), p.sends, p.row, w.saying(p.row))
	}
	if r := w.mirror.rows[p.row]; p.row != "" && (r == nil || r.text != x) {
		w.fail("new message taken for a re-send", "%v: publish %d %.24q was answered with message %s, which says %.24q", p.d, p.n, x.body, p.row, w.saying(p.row))
	}
}

func (w *world) saying(id string) string {
	if r := w.mirror.rows[id]; r != nil {
		return r.text.body
	}
	return ""
}

// judgeConflict: a key that was refused was used for something else.
func (w *world) judgeConflict(p *publish) {
	use := w.book.keys[p.sender+" "+p.key]
	switch {
	case use.row == nil:
		w.fail("false conflict", "%v: publish %d was refused: key %s was used before; no message has it", p.d, p.n, p.key)
	case use.row.text == p.text:
		w.fail("false conflict", "%v: publish %d was refused: key %s was used for something else; it was used for the same, message %s", p.d, p.n, p.key, use.row.id)
	}
}

// judgeTold compares a delivery with the entry it shows.
func (w *world) judgeTold(t told) {
	r := w.mirror.entry(t.user, t.n)
	switch {
	case r == nil:
		w.fail("rows", "%s was sent %d (message %s), which is not stored", t.user, t.n, t.id)
	case r.id != t.id || r.seq != t.seq:
		w.fail("dense order", "%s was sent message %s (%d in its conversation) as number %d, stored is %s (%d)", t.user, t.id, t.seq, t.n, r.id, r.seq)
	case t.body && !r.expires.IsZero() && r.expires.Before(t.asked):
		w.fail("expiry", "%s was sent %d with its body after its expiry: it ended %v before the subscription began", t.user, t.n, t.asked.Sub(r.expires))
	case !t.body && (r.expires.IsZero() || r.expires.After(time.Now())):
		w.fail("expiry", "%s was sent %d without its body, it expires %v", t.user, t.n, r.expires)
	}
}

// judgeCursor compares a saved cursor with what the device has acknowledged.
func (w *world) judgeCursor(s seenCursor, generations map[*device]int) {
	for _, d := range w.devices {
		if d.user != s.user || d.name != s.device || d.pos.generation != generations[d] || s.cursor < 0 || d.session.exists != yes ||
			d.conn != nil && len(d.conn.asks) > 0 { // it may be replaced just now
			continue
		}
		p := &d.pos
		if s.cursor > p.hi && !p.loose {
			w.judgeCursorAhead(d, s.cursor)
		}
		if s.cursor < p.saved {
			w.fail("cursor", "%v: the saved cursor went from %d back to %d", d, p.saved, s.cursor)
		}
		p.saved = max(p.saved, s.cursor)
		p.raise(s.cursor)
	}
}

func (w *world) judgeCursorAhead(d *device, cursor int64) {
	p := &d.pos
	if w.found != nil {
		return
	}
	w.judgeClaim(claim{d: d, kind: passed, from: p.hi, to: cursor, before: p.before, noLocal: p.noLocal, at: time.Now()})
	if w.found != nil && w.found.what == "silent gap" {
		w.found.what, w.found.text = "cursor moved too early", d.String()+": "+w.found.text
	}
}
