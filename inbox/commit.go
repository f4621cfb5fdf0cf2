package inbox

import (
	"context"
	"errors"
	"time"

	"postbox"
)

// commit stores what a group asks for and leaves the outcome in its drafts. It
// returns an error only when the lane must end.
func (l *committer) commit(ctx context.Context, group []*Draft) error {
	if err := l.resolve(ctx, group); err != nil {
		return err
	}
	for len(group) > 0 {
		if group[0].Action == Amend {
			if err := l.amend(ctx, group[0]); err != nil {
				return err
			}
			group = group[1:]
			continue
		}
		n := findRepeats(group)
		if err := l.store(ctx, group[:n]); err != nil {
			return err
		}
		group = group[n:]
	}
	return nil
}

// resolve looks up where the messages of a group go. Nothing in a group makes
// that fail for good: any error is one of the database, and waits.
func (l *committer) resolve(ctx context.Context, group []*Draft) error {
	return l.retry(ctx, func() error { return unlessEnded(ctx, l.routes.resolve(ctx, group)) })
}

// unlessEnded makes an error one of the database, unless ctx has ended.
func unlessEnded(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		return errors.Join(postbox.ErrUnavailable, err)
	}
	return ctx.Err()
}

// amend stores a change, between what was submitted before and after it.
func (l *committer) amend(ctx context.Context, d *Draft) error {
	if d.Refusal != nil {
		return nil
	}
	var err error
	for {
		if d.Change.Room != nil {
			if err := l.retry(ctx, func() error { return unlessEnded(ctx, l.o.Router.Decide(ctx, d.Change)) }); err != nil {
				return err
			}
			if d.Change.Refusal != nil || d.Change.Room.Nothing {
				d.Refusal = d.Change.Refusal
				return nil
			}
		}
		err = l.retry(ctx, func() error { return l.appender.Change(ctx, d.Change) })
		if !errors.Is(err, postbox.ErrStaleRoute) {
			break
		}
	}
	switch {
	case errors.Is(err, ErrFenced) || ctx.Err() != nil:
		return err
	case err != nil:
		l.o.Logger.Error("change refused by the database", "error", err)
		d.refuse(err)
	case d.Change.Refusal != nil:
		d.Refusal = d.Change.Refusal
	default:
		d.Duplicate = d.Change.Duplicate
	}
	return nil
}

// store appends a group. A group that cannot be stored as a whole, although
// the database is there, is split in two and each half stored in its turn,
// before anything newer: so one bad draft refuses only its sender.
func (l *committer) store(ctx context.Context, group []*Draft) error {
	b := batchOf(group)
	if len(b.Publishes)+len(b.Opened)+len(b.Closed) == 0 {
		adopt(group)
		return nil
	}
	err := l.retry(ctx, func() error { return l.appender.Append(ctx, b) })
	switch {
	case err == nil:
		adopt(group)
		return nil
	case errors.Is(err, ErrFenced) || ctx.Err() != nil:
		return err
	case errors.Is(err, postbox.ErrStaleRoute):
		return l.reroute(ctx, group)
	case len(group) == 1:
		l.o.Logger.Error("draft refused by the database", "error", err)
		again := group[0].Frees && group[0].Refusal == nil
		if group[0].refuse(err); again { // its packet id is used all the same
			return l.store(ctx, group)
		}
		return nil
	}
	half := len(group) / 2
	if err := l.store(ctx, group[:half]); err != nil {
		return err
	}
	return l.store(ctx, group[half:])
}

// reroute stores a group again, of which nothing was stored because rooms have
// changed since it was looked up who is in them. Who may not write there any more
// is refused.
func (l *committer) reroute(ctx context.Context, group []*Draft) error {
	for _, d := range group {
		if p := &d.Publish; p.Stale {
			l.routes.forget(p.Message.Room)
			p.Stale, p.Message.Conversation, p.Recipients, p.Members = false, 0, nil, 0
		}
	}
	if err := l.resolve(ctx, group); err != nil {
		return err
	}
	// What used the key of a draft that is refused now is on its own.
	for _, d := range group {
		if e := d.Earlier; e != nil && e.Refusal != nil && e.Publish.Digest != d.Publish.Digest {
			d.Earlier = nil
		}
	}
	if err := l.resolve(ctx, group); err != nil {
		return err
	}
	n := findRepeats(group)
	if err := l.store(ctx, group[:n]); err != nil || n == len(group) {
		return err
	}
	return l.store(ctx, group[n:])
}

// sayAgain is how often the log repeats that the database is still away.
const sayAgain = 30 * time.Second

// retry calls f until the database is there. Its pauses grow to one second. The
// log says when the database goes, for what reason, when that changes, and when
// it is back.
func (l *committer) retry(ctx context.Context, f func() error) error {
	l.ask()
	pause := 20 * time.Millisecond
	said, saidAt := "", time.Time{}
	for {
		err := f()
		switch {
		case errors.Is(err, ErrFenced):
			l.o.Logger.Error("another server has taken over the database: this one stops")
			if l.o.Fenced != nil {
				l.o.Fenced()
			}
			return err
		case !errors.Is(err, postbox.ErrUnavailable):
			if away := l.heard(); away > 0 && ctx.Err() == nil {
				l.o.Logger.Info("the database is back", "away", away.Round(time.Millisecond))
			}
			return err
		}
		away := l.missed()
		l.metrics.retries.Inc()
		if now := time.Now(); err.Error() != said || now.Sub(saidAt) >= sayAgain {
			said, saidAt = err.Error(), now
			l.o.Logger.Warn("the database is away: publishes wait", "error", err, "away", away.Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// findRepeats links drafts that use the idempotency key of an earlier draft of
// the same group to that draft. It stops at a change, which is stored by itself,
// and at one that uses the key of a will, and returns how many are before it: a
// will may turn out to be gone, with nothing stored, and what is stored decides
// on the next one with its key. That one can neither be in the same batch, which
// may store a key once only, nor be stored later than what its sender has sent
// after it.
func findRepeats(group []*Draft) int {
	type use struct {
		sender postbox.UserID
		key    string
	}
	var seen map[use]*Draft
	for i, d := range group {
		if d.Action == Amend {
			return i
		}
		if !d.appends() || d.Publish.Message.Key == "" {
			continue
		}
		if seen == nil {
			seen = make(map[use]*Draft)
		}
		k := use{d.Publish.Message.Sender, d.Publish.Message.Key}
		switch first, ok := seen[k]; {
		case !ok:
			seen[k] = d
		case first.Publish.Will:
			return i
		default:
			d.Earlier = first
		}
	}
	return len(group)
}

// batchOf collects what a group needs of the database. Of the QoS 2 ids only
// the last state counts: an id may be opened and closed within one group.
func batchOf(group []*Draft) *postbox.Batch {
	b := &postbox.Batch{Now: time.Now()}
	type id struct {
		device postbox.DeviceID
		packet uint16
	}
	var last map[id]*Draft
	for _, d := range group {
		if d.appends() {
			b.Publishes = append(b.Publishes, &d.Publish)
		}
		if d.Device != 0 && (d.opens() || d.Frees || d.Action == Release) {
			if last == nil {
				last = make(map[id]*Draft)
			}
			last[id{d.Device, d.Publish.PacketID}] = d
		}
	}
	for k, d := range last {
		o := postbox.OpenPublish{Device: k.device, PacketID: k.packet, Digest: d.Publish.Digest}
		if !d.opens() {
			b.Closed = append(b.Closed, o)
			continue
		}
		o.Message = d.Publish.Message.ID
		switch {
		case d.Duplicate:
			o.Message = d.Stored.ID
		case d.Earlier != nil:
			o.Message = d.Earlier.Publish.Message.ID
		}
		b.Opened = append(b.Opened, o)
	}
	return b
}

// opens reports whether the draft's packet id is open from now on.
func (d *Draft) opens() bool {
	return d.Action == Append && d.Publish.QoS == 2 && d.Refusal == nil && !d.contradicts()
}

// contradicts reports whether the draft asks for something else than the
// earlier one of its group with the same idempotency key. Then nothing is
// opened for it: a re-send must not be answered with that one's message.
func (d *Draft) contradicts() bool {
	return d.Action == Append && d.Earlier != nil && d.Earlier.Publish.Digest != d.Publish.Digest
}

// adopt turns what the store has filled in into the drafts' outcomes.
func adopt(group []*Draft) {
	for _, d := range group {
		p := &d.Publish
		switch {
		case d.Action != Append || d.Refusal != nil || d.Duplicate:
		case d.Earlier != nil:
			adoptEarlier(d)
		case p.Gone:
			d.refuse(errWillGone)
		case p.Used != nil && p.Used.Digest != p.Digest:
			d.refuse(errKeyUsed)
		case p.Used != nil:
			d.known(*p.Used)
		default:
			m := p.Message
			d.Stored = postbox.Stored{ID: m.ID, Seq: m.Seq, InboxSeq: p.InboxSeq, SentAt: m.SentAt, Digest: p.Digest}
		}
	}
}

// adoptEarlier gives d the outcome of an earlier draft that it repeats, or
// whose idempotency key it uses: what counts is what is stored, which may be
// neither's.
func adoptEarlier(d *Draft) {
	first := d.Earlier
	d.Earlier = nil
	used := first.Publish.Used
	switch {
	case used != nil && used.Digest == d.Publish.Digest:
		d.known(*used)
	case used != nil || first.Publish.Digest != d.Publish.Digest:
		d.refuse(errKeyUsed)
	case first.Refusal != nil:
		d.Refusal = first.Refusal
	default:
		d.known(first.Stored)
	}
}

// errWillGone settles a will that was sent by an earlier draft, or taken back by
// its device. Nobody is told.
var errWillGone = postbox.Errorf(postbox.CodeNotFound, "the will is not there any more")

var errKeyUsed = postbox.Errorf(postbox.CodeConflict,
	"the idempotency key was used before for another destination, body, content type, ref or expiry: use a new one")
