package client

import (
	"context"
	"encoding/json"
	"iter"

	"postbox"
)

// HistoryOptions say which messages of a conversation are wanted: the latest;
// those before or after a bound, which is excluded; those between both, from
// After on; or those around one, which is included.
type HistoryOptions struct {
	Before, After, Around postbox.Bound
	Limit                 int // 1 to 500; zero: 50
}

// HistoryPage is messages of one conversation, oldest first, in their present
// state. HasBefore and HasAfter tell whether the conversation has more on either
// side of them.
type HistoryPage struct {
	Messages            []Envelope
	HasBefore, HasAfter bool
}

// History reads a page of a conversation. The server may return fewer messages
// than asked for, as many as it sends at once. An unknown user or room is
// ErrNotFound.
func (c *Client) History(ctx context.Context, place Place, o HistoryOptions) (HistoryPage, error) {
	request := struct {
		wirePlace
		Before wireBound `json:"before,omitzero"`
		After  wireBound `json:"after,omitzero"`
		Around wireBound `json:"around,omitzero"`
		Limit  int       `json:"limit,omitempty"`
	}{wirePlace(place), wireBound(o.Before), wireBound(o.After), wireBound(o.Around), o.Limit}
	var reply struct {
		Messages  []json.RawMessage `json:"messages"`
		HasBefore bool              `json:"has_before"`
		HasAfter  bool              `json:"has_after"`
	}
	if err := c.Call(ctx, "history", request, &reply); err != nil {
		return HistoryPage{}, err
	}
	messages, err := readMessages(reply.Messages)
	return HistoryPage{messages, reply.HasBefore, reply.HasAfter}, err
}

// Messages reads a conversation from the message after a bound on to its present
// end, oldest first; from its first message on if the bound is not set. It asks
// for a page at a time, and ends at the first error, which it yields.
func (c *Client) Messages(ctx context.Context, place Place, after postbox.Bound) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		o := HistoryOptions{After: after, Limit: pageSize}
		if !after.Set {
			o.After = AtSeq(0)
		}
		for {
			page, err := c.History(ctx, place, o)
			if !yieldAll(page.Messages, err, yield) || !page.HasAfter || len(page.Messages) == 0 {
				return
			}
			o.After = AtSeq(page.Messages[len(page.Messages)-1].Seq)
		}
	}
}

// pageSize is how many items the iterators ask for at once.
const pageSize = 200

// yieldAll yields items, or an error, and reports whether to go on.
func yieldAll[T any](items []T, err error, yield func(T, error) bool) bool {
	if err != nil {
		var none T
		yield(none, err)
		return false
	}
	for _, item := range items {
		if !yield(item, nil) {
			return false
		}
	}
	return true
}

// readMessages reads messages as history and search show them.
func readMessages(raw []json.RawMessage) ([]Envelope, error) {
	messages := make([]Envelope, len(raw))
	for i, m := range raw {
		var err error
		if messages[i], err = readEnvelope(m, TypeMessage); err != nil {
			return nil, err
		}
	}
	return messages, nil
}
