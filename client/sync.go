package client

import (
	"context"
	"encoding/json"
	"iter"

	"postbox"
)

// SyncPage is a stretch of the inbox. A gap stands among the entries where some
// cannot be had.
type SyncPage struct {
	Entries []Envelope
	Next    postbox.Position // behind them: the after of the next Sync
	// Complete says that nothing came after Next.
	Complete bool
}

// Sync reads entries of the inbox after a place, which has nothing to do with
// what Receive returns and acknowledges; the zero position is the beginning. The
// limit is 1 to 500, zero means 50. A place that this database never had, or
// beyond the inbox, is ErrEpochChanged: start again from the beginning.
func (c *Client) Sync(ctx context.Context, after postbox.Position, limit int) (SyncPage, error) {
	request := struct {
		After postbox.InboxSeq `json:"after"`
		Epoch postbox.Epoch    `json:"epoch,omitempty"`
		Limit int              `json:"limit,omitempty"`
	}{after.Seq, after.Epoch, limit}
	var reply struct {
		Entries  []json.RawMessage `json:"entries"`
		Next     postbox.InboxSeq  `json:"next"`
		Epoch    postbox.Epoch     `json:"epoch"`
		Complete bool              `json:"complete"`
	}
	if err := c.Call(ctx, "sync", request, &reply); err != nil {
		return SyncPage{}, err
	}
	page := SyncPage{Next: postbox.Position{Epoch: reply.Epoch, Seq: reply.Next}, Complete: reply.Complete}
	for _, raw := range reply.Entries {
		e, err := ParseEnvelope(raw)
		if err != nil {
			return SyncPage{}, err
		}
		page.Entries = append(page.Entries, e)
	}
	return page, nil
}

// Entries reads the inbox after a place to its present end. It asks for a page
// at a time, and ends at the first error, which it yields.
func (c *Client) Entries(ctx context.Context, after postbox.Position) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		for {
			page, err := c.Sync(ctx, after, pageSize)
			if !yieldAll(page.Entries, err, yield) || page.Complete {
				return
			}
			after = page.Next
		}
	}
}
