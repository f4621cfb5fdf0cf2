package store

import (
	"context"

	"postbox"
)

// mostMessages is the most that a page has, whatever lies in one moment.
const mostMessages = 500

// keepMoments sees to it that no side ends between two messages of one moment.
func (w *walk) keepMoments(ctx context.Context, a *archive, p postbox.Place) error {
	var again []*direction
	for _, d := range []*direction{&w.down, &w.up} {
		if d.splits() && !d.shorten() {
			again = append(again, d)
			d.found, d.more, d.limit, d.bytes = nil, false, mostMessages, historyBytes
		}
	}
	if len(again) == 0 {
		return nil
	}
	full := *w
	full.divide(p)
	for _, d := range again {
		d.spans = full.down.spans
		if d == &w.up {
			d.spans = full.up.spans
		}
	}
	if err := w.walk(ctx, a, p); err != nil {
		return err
	}
	for _, d := range again {
		d.firstMoment()
	}
	return nil
}

// splits reports whether a side ends between two messages of one moment.
func (d *direction) splits() bool {
	return d.more && len(d.found) > 0 && d.found[len(d.found)-1].SentAt.Equal(d.then)
}

// shorten takes the last moment off; false if there is only one.
func (d *direction) shorten() bool {
	n := len(d.found)
	for n > 0 && d.found[n-1].SentAt.Equal(d.then) {
		n--
	}
	if n > 0 {
		d.found = d.found[:n]
	}
	return n > 0
}

// firstMoment leaves the first moment.
func (d *direction) firstMoment() {
	for i, m := range d.found {
		if !m.SentAt.Equal(d.found[0].SentAt) {
			d.found, d.more = d.found[:i], true
			return
		}
	}
}
