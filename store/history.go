package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"postbox"
)

// historyBytes is how much body one side of a page of history holds, in bytes:
// with its first message it may be more.
const historyBytes = 1 << 20

// lastSeq is beyond every message; the number after it still fits.
const lastSeq = postbox.Seq(math.MaxInt64 - 1)

// Page reads messages of a place: at most as many as asked for, and fewer when
// they are large, one at least. A bound that names a message which is not in it,
// as far as the user may see, is ErrNotFound. It costs the same however much
// lies before and behind.
//
// A page that was asked for by a time does not end between two messages of one
// moment, as those of one commit are: whoever goes on by the time of its last one
// would miss the others. It has fewer messages instead; or, when all are of one
// moment, more than was asked for, up to 500.
func (s *Store) Page(ctx context.Context, p postbox.Place, r postbox.PageRequest) (postbox.Page, error) {
	w, err := s.walkOf(ctx, p, r)
	if err != nil {
		return postbox.Page{}, err
	}
	if err := w.walk(ctx, s.archive, p); err != nil {
		return postbox.Page{}, away("read history", err)
	}
	if byTime(r.Before) || byTime(r.After) || byTime(r.Around) {
		if err := w.keepMoments(ctx, s.archive, p); err != nil {
			return postbox.Page{}, away("read history", err)
		}
	}
	page := postbox.Page{
		Messages:  append(w.down.found, w.up.found...),
		HasBefore: w.down.more, HasAfter: w.up.more,
	}
	slices.SortFunc(page.Messages, func(a, b *postbox.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	return page, s.nameAuthors(ctx, p, page.Messages)
}

// walk is a page as a walk from one point in both directions.
type walk struct{ down, up direction }

// direction is one side of a page: the messages from a seq on, outwards, and
// whether there are more behind them.
type direction struct {
	from  postbox.Seq // the first that belongs to it
	to    postbox.Seq // the last that the page may have, upwards
	limit int         // of the messages that it may still take
	bytes int         // of the bodies, the same
	spans []postbox.Span

	found []*postbox.Message
	more  bool
	then  time.Time // when the first of those was sent
}

// walkOf translates a request.
func (s *Store) walkOf(ctx context.Context, p postbox.Place, r postbox.PageRequest) (walk, error) {
	after, before, err := postbox.Seq(0), lastSeq+1, error(nil)
	if r.After.Set {
		if after, err = s.lowerBound(ctx, p, r.After); err != nil {
			return walk{}, err
		}
	}
	if r.Before.Set {
		if before, err = s.upperBound(ctx, p, r.Before); err != nil {
			return walk{}, err
		}
	}
	limit := max(r.Limit, 1)
	w := walk{
		down: direction{from: before - 1, limit: limit},
		up:   direction{from: before, to: lastSeq},
	}
	switch {
	case r.Around.Set:
		middle, err := s.middle(ctx, p, r.Around)
		if err != nil {
			return walk{}, err
		}
		w.down = direction{from: middle - 1, limit: limit / 2}
		w.up = direction{from: middle, to: lastSeq, limit: limit - limit/2}
	case r.After.Set:
		within := min(postbox.Seq(limit), before-1-after) // below zero if the bounds have crossed
		w.down = direction{from: after}
		w.up = direction{from: after + 1, to: before - 1, limit: int(max(within, 0))}
	}
	w.down.bytes, w.up.bytes = historyBytes, historyBytes
	w.divide(p)
	return w, nil
}

// divide gives each direction its stretches of what may be read, the nearest
// first.
func (w *walk) divide(p postbox.Place) {
	w.down.spans, w.up.spans = nil, nil
	if p.Conversation == 0 {
		return
	}
	for _, s := range p.Spans {
		if s.UpTo == 0 {
			s.UpTo = lastSeq
		}
		if down := (postbox.Span{After: s.After, UpTo: min(s.UpTo, w.down.from)}); down.After < down.UpTo {
			w.down.spans = append(w.down.spans, down)
		}
		if up := (postbox.Span{After: max(s.After, w.up.from-1), UpTo: s.UpTo}); up.After < up.UpTo {
			w.up.spans = append(w.up.spans, up)
		}
	}
	slices.Reverse(w.down.spans)
}

// next takes the next stretch of a direction; false when it is done.
func (d *direction) next() (postbox.Span, bool) {
	if d.more || len(d.spans) == 0 {
		return postbox.Span{}, false
	}
	span := d.spans[0]
	d.spans = d.spans[1:]
	return span, true
}

// walk reads stretch after stretch until both directions are done; nearly
// always there is one.
func (w *walk) walk(ctx context.Context, a *archive, p postbox.Place) error {
	for {
		s := stretch{conversation: p.Conversation, downLimit: -1, upLimit: -1}
		down, downwards := w.down.next()
		if downwards {
			s.down, s.downLimit = down, w.down.limit
		}
		up, upwards := w.up.next()
		if upwards {
			s.up, s.upLimit = up, w.up.limit
		}
		if !downwards && !upwards {
			return nil
		}
		read, err := w.readSmall(ctx, a, s)
		if err == nil && !read {
			err = a.query(ctx, readWalk, w.take(p.Conversation), append(s.arguments(), w.up.to, w.down.bytes, w.up.bytes)...)
		}
		if err != nil {
			return err
		}
	}
}
