package apitest

import (
	"context"
	"fmt"
	"slices"

	"postbox"
	"postbox/api"
)

// Head implements api.Inbox.
func (w *World) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	if err := w.begin(ctx); err != nil {
		return 0, err
	}
	defer w.Unlock()
	return postbox.InboxSeq(len(w.person(user).Inbox)), nil
}

// pageBytes is how much body one page of entries holds, as that of package store.
const pageBytes = 128 << 10

// Entries implements api.Inbox.
func (w *World) Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	var entries []*postbox.Entry
	size := 0
	for _, e := range w.person(user).Inbox[after:upTo] {
		if e == nil || len(entries) == limit || size >= pageBytes {
			continue
		}
		entries = append(entries, e)
		if e.Message != nil {
			size += len(e.Message.Body)
		}
	}
	return entries, nil
}

// SaveCursors does nothing: a World is an inbox.Reader, too.
func (w *World) SaveCursors(context.Context, []postbox.CursorSave) error { return nil }

// PositionSince implements api.Inbox: in the epoch before there were three
// entries less.
func (w *World) PositionSince(ctx context.Context, _ postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error) {
	if err := w.begin(ctx); err != nil {
		return 0, false, err
	}
	defer w.Unlock()
	return min(p.Seq, 1), p.Epoch == Before, nil
}

// Ahead implements api.Inbox.
func (w *World) Ahead(context.Context) {
	w.Lock()
	defer w.Unlock()
	w.WasAhead++
}

// Await implements api.Inbox.
func (w *World) Await(ctx context.Context, user postbox.UserID, after postbox.InboxSeq) error {
	for {
		if err := w.begin(ctx); err != nil {
			return err
		}
		there, news := len(w.person(user).Inbox) > int(after), w.news
		w.Unlock()
		if there {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("await an entry: %w", ctx.Err())
		}
	}
}

// Unannounced implements api.Markers.
func (w *World) Unannounced(ctx context.Context, limit int) ([]api.Unannounced, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	n := min(limit, len(w.Left))
	left := slices.Clone(w.Left[:n])
	w.Left = w.Left[n:]
	return left, nil
}
