package api

import (
	"context"
	"errors"
	"time"

	"postbox"
)

func syncOperation() *operation {
	wait := numberField("wait", "over HTTP: when there is nothing, wait so many seconds for something", 0, maxWait)
	wait.Edge = EdgeHTTP
	return &operation{Operation{
		Name: "sync", Summary: "Read the inbox", Reads: true, Waits: true,
		Doc: "Entries in their order, after a number. Go on with next, until complete. Where entries are gone for good, " +
			"a gap stands in their place; a number of an epoch that this database never had is epoch_changed: start again without one.",
		Fields: []Field{
			numberField("after", "the number of the last entry that is known; without it, from the beginning", 0, maxNumber),
			{Name: "epoch", Max: 64, Pattern: "^[a-z0-9]{1,64}$", check: checkEpoch, Doc: "the epoch that after belongs to; without it, the one in force"},
			limitField("entries"),
			wait,
		},
		Reply: reply(
			must("entries", arrayOf("in their order", Schema{"anyOf": []Schema{SchemaRef("Entry"), SchemaRef("Gap")}})),
			must("next", countSchema("the after of the next request", 0)),
			must("epoch", stringSchema("the one in force, to which next belongs")),
			must("complete", flagSchema("there was nothing after next")),
		),
		Codes: []postbox.Code{postbox.CodeEpochChanged},
	}, (*API).sync}
}

// tail is how far a sync has come.
type tail struct {
	list  items
	lost  postbox.Code // to be told first
	epoch postbox.Epoch
	after postbox.InboxSeq
	room  int
}

func (a *API) sync(ctx context.Context, c *call) error {
	t := tail{after: postbox.InboxSeq(c.in.get("after").n), epoch: a.o.Epoch, room: c.room()}
	if err := a.translate(ctx, c, &t); err != nil {
		return err
	}
	head, err := a.o.Inbox.Head(ctx, c.caller.ID)
	if err != nil {
		return err
	}
	if t.after > head {
		return a.ahead(ctx, c, t.after, head)
	}
	if wait := c.in.get("wait"); wait.n > 0 && t.after == head && t.lost == "" {
		if head, err = a.await(ctx, c.caller.ID, t.after, time.Duration(wait.n)*time.Second); err != nil {
			return err
		}
	}
	if err := a.fill(ctx, c, &t, head); err != nil {
		return err
	}
	c.out.list("entries", &t.list, 0, t.list.len())
	c.out.number("next", int64(t.after))
	c.out.text("epoch", string(a.o.Epoch))
	c.out.flag("complete", t.after == head)
	return nil
}

// fill reads what comes after, up to head.
func (a *API) fill(ctx context.Context, c *call, t *tail, head postbox.InboxSeq) error {
	if t.after < head {
		entries, err := a.o.Inbox.Entries(ctx, c.caller.ID, t.after, head, c.limit())
		if err != nil {
			return err
		}
		if all := t.add(entries, a.o.Now()); all && len(entries) < c.limit() && t.after < head {
			// A page is bound by its bodies, too: only another look tells whether
			// what else there was is gone.
			more, err := a.o.Inbox.Entries(ctx, c.caller.ID, t.after, head, 1)
			if err != nil {
				return err
			}
			if len(more) == 0 {
				t.gap(postbox.CodeExpired, head+1)
				t.after = head
			}
		}
	}
	if t.lost != "" {
		t.gap(t.lost, t.after+1)
	}
	return nil
}

// translate finds the number in the epoch in force.
func (a *API) translate(ctx context.Context, c *call, t *tail) error {
	epoch := postbox.Epoch(c.in.get("epoch").text)
	if epoch == "" || epoch == a.o.Epoch || !c.in.get("after").set {
		return nil
	}
	at, known, err := a.o.Inbox.PositionSince(ctx, c.caller.ID, postbox.Position{Epoch: epoch, Seq: t.after})
	if err != nil {
		return err
	}
	if !known {
		return postbox.Errorf(postbox.CodeEpochChanged, "the epoch %s is none of this database, which is in %s: start again without after", epoch, a.o.Epoch)
	}
	t.after, t.lost = at, postbox.CodeEpochChanged
	return nil
}

// ahead refuses a number beyond the inbox. One of the epoch in force shows that
// the database was put back to an older state.
func (a *API) ahead(ctx context.Context, c *call, after, head postbox.InboxSeq) error {
	if postbox.Epoch(c.in.get("epoch").text) == a.o.Epoch {
		a.o.Inbox.Ahead(ctx)
	}
	return postbox.Errorf(postbox.CodeEpochChanged, "the inbox ends at %d, before %d, which is a number of another epoch: start again without after", head, after)
}

// await waits for the first entry after a number. That none comes is no error.
func (a *API) await(ctx context.Context, user postbox.UserID, after postbox.InboxSeq, wait time.Duration) (postbox.InboxSeq, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := a.o.Inbox.Await(waiting, user, after); err != nil {
		if ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded) {
			return after, nil
		}
		return 0, err
	}
	return a.o.Inbox.Head(ctx, user)
}

// add adds entries as far as there is room, and reports whether all had.
func (t *tail) add(entries []*postbox.Entry, now time.Time) bool {
	for _, e := range entries {
		before := *t
		v := postbox.View{Epoch: t.epoch, After: e.InboxSeq - 1, Now: now}
		size := t.take(e, v)
		if t.room == 0 || len(t.list.buf) <= t.room {
			continue
		}
		*t = before
		if t.list.len() > 0 {
			return false
		}
		v.TooLarge = size // one goes at least, without its body
		t.take(e, v)
	}
	return true
}

// take adds one entry, and before it the news of what is missing. It returns
// the size of the entry.
func (t *tail) take(e *postbox.Entry, v postbox.View) int {
	if t.lost != "" {
		t.gap(t.lost, t.after+1)
	}
	if e.InboxSeq > t.after+1 {
		t.gap(postbox.CodeExpired, e.InboxSeq)
	}
	t.list.next()
	began := len(t.list.buf)
	t.list.buf = postbox.AppendEnvelope(t.list.buf, e, v)
	t.list.done()
	t.after = e.InboxSeq
	return len(t.list.buf) - began
}

// gap says that what lies before next cannot be had.
func (t *tail) gap(code postbox.Code, next postbox.InboxSeq) {
	t.list.next()
	t.list.buf = postbox.AppendGap(t.list.buf, t.epoch, code, t.after, next)
	t.list.done()
	t.lost = ""
}
