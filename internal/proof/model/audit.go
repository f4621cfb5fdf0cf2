package model

import (
	"context"
	"strings"
	"time"
)

// inquiry is what was seen on the wire and is to be compared with the rows.
type inquiry struct {
	answers  []*publish // acknowledged as stored
	refusals []*publish // refused as a conflict
	told     []told
	claims   []claim
}

// told is a delivery as a device saw it.
type told struct {
	user  string
	n     int64
	id    string
	seq   int64
	body  bool
	asked time.Time // the server sent it later than this
}

// audit reads what is new in the database and compares. It reports false when
// the database does not answer.
func (w *world) audit(ctx context.Context) bool {
	w.audits.Lock()
	defer w.audits.Unlock()
	var conversations, seqs, users, numbers []int64
	var q inquiry
	generations := make(map[*device]int)
	sure := make(map[*text]int)
	w.locked(func() {
		for id := range w.mirror.pairs {
			conversations, seqs = append(conversations, id), append(seqs, int64(len(w.mirror.order[id])))
		}
		for id, name := range w.mirror.names {
			users, numbers = append(users, id), append(numbers, w.mirror.head(name))
		}
		q, w.inquiry = w.inquiry, inquiry{}
		for _, d := range w.devices {
			generations[d] = d.pos.generation
		}
		for _, x := range w.book.ticks {
			sure[x] = x.sure
		}
	})
	s, err := w.look(ctx, conversations, seqs, users, numbers)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.inquiry = inquiry{
			append(q.answers, w.inquiry.answers...), append(q.refusals, w.inquiry.refusals...),
			append(q.told, w.inquiry.told...), append(q.claims, w.inquiry.claims...),
		}
		return false
	}
	w.count("audits")
	for id, pair := range s.pairs {
		w.mirror.pairs[id] = pair
	}
	for i := range s.messages {
		w.addMessage(&s.messages[i])
	}
	for _, e := range s.entries {
		w.addEntry(e)
	}
	if w.found != nil {
		return true
	}
	for _, p := range q.answers {
		w.judgeAnswer(p)
	}
	for _, p := range q.refusals {
		w.judgeConflict(p)
	}
	for x, n := range sure {
		if len(x.rows) < n {
			w.fail("new message taken for a re-send", "%q: %d of them must be stored, there are %d", x.body, n, len(x.rows))
		}
	}
	for _, t := range q.told {
		w.judgeTold(t)
	}
	for _, c := range q.claims {
		w.judgeClaim(c)
	}
	for _, c := range s.cursors {
		w.judgeCursor(c, generations)
	}
	w.tell()
	return true
}

// addMessage takes a message that was not seen before.
func (w *world) addMessage(m *seenMessage) {
	r := &m.row
	all := w.mirror.order[r.conversation]
	x := w.book.of(m.body)
	switch {
	case r.seq != int64(len(all))+1:
		w.fail("dense order", "conversation %d (%s): number %d follows %d", r.conversation, w.mirror.pairs[r.conversation], r.seq, len(all))
		return
	case x == nil:
		w.fail("rows", "message %s says %.60q, which nobody said", r.id, m.body)
		return
	case x.never != "":
		w.fail("rows", "message %s is stored, which must be refused", r.id)
	case r.sender != x.sender || x.tick && r.device != x.device:
		w.fail("true sender", "message %s of %s/%s is stored as from %s/%s", r.id, x.sender, x.device, r.sender, r.device)
	case w.mirror.pairs[r.conversation] != pairOf(x.sender, x.to, w.mirror.pairs[r.conversation]):
		w.fail("rows", "message %s from %s to %s is in the conversation of %s", r.id, x.sender, x.to, w.mirror.pairs[r.conversation])
	case r.key != x.key || m.ctype != x.ctype || m.ref != x.ref || r.expires.IsZero() != (x.expiry == 0):
		w.fail("rows", "message %s is stored with key %q, type %q, ref %q, expiry %v, want %+v", r.id, r.key, m.ctype, m.ref, r.expires, *x)
	}
	r.text, r.seen = x, time.Now()
	w.mirror.order[r.conversation] = append(all, r)
	w.mirror.rows[r.id] = r
	x.rows = append(x.rows, r)
	if most := x.all; len(x.rows) > 1 && (!x.tick || len(x.rows) > most) {
		w.fail("stored twice", "%q is stored %d times: %s and %s%s", m.body[:min(len(m.body), 24)], len(x.rows), x.rows[0].id, r.id, x.only.story())
	}
	if x.key == "" {
		w.judgeOrder(r)
		return
	}
	use := w.book.keys[x.sender+" "+x.key]
	if use.row != nil {
		w.fail("stored twice", "key %s of %s: messages %s and %s", x.key, x.sender, use.row.id, r.id)
	}
	use.row = r
}

// judgeOrder: what a connection published to a conversation is numbered in that
// order, unless it was first sent on an earlier connection: then it has its place
// from there. Rows come here in the order of their numbers.
func (w *world) judgeOrder(r *row) {
	p := r.text.only
	if p == nil {
		return
	}
	for _, at := range p.places {
		if last := at.c.last[p.to]; last > at.n {
			w.fail("order", "%v published %d (%.24q) to %s before the one that is numbered below %d: as %d of its connection, that one as %d",
				p.d, p.n, p.body, p.to, r.seq, at.n, last)
		}
		if p.first == at.c {
			at.c.last[p.to] = max(at.c.last[p.to], at.n)
		}
	}
}

// pairOf is a conversation of two users, in the order in which the rows have it.
func pairOf(a, b, like string) string {
	if first, _, _ := strings.Cut(like, " "); first == b {
		return b + " " + a
	}
	return a + " " + b
}

// addEntry takes an inbox entry that was not seen before.
func (w *world) addEntry(e seenEntry) {
	if head := w.mirror.head(e.user); e.n != head+1 {
		w.fail("dense order", "inbox of %s: number %d follows %d", e.user, e.n, head)
		return
	}
	all := w.mirror.order[e.conversation]
	if e.seq < 1 || e.seq > int64(len(all)) {
		w.fail("rows", "entry %d of %s names message %d of conversation %d, which is not there", e.n, e.user, e.seq, e.conversation)
		return
	}
	r := all[e.seq-1]
	r.entries++
	low, high, _ := strings.Cut(w.mirror.pairs[e.conversation], " ")
	most := 2
	if low == high {
		most = 1
	}
	switch {
	case e.user != low && e.user != high || r.entries > most:
		w.fail("nobody else's inbox", "entry %d of %s is message %s of %s and %s, in %d inboxes", e.n, e.user, r.id, low, high, r.entries)
	case e.user == r.sender && e.n != r.ownSeq:
		w.fail("rows", "message %s has number %d in its sender's inbox, and says %d", r.id, e.n, r.ownSeq)
	}
	w.mirror.inboxes[e.user] = append(w.mirror.inboxes[e.user], r)
}
