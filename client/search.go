package client

import (
	"context"
	"encoding/json"
	"iter"

	"postbox"
)

// SearchOptions say where to search, and for whose messages; the zero value
// means all that the user may read.
type SearchOptions struct {
	Place // else in all conversations
	From  postbox.User
	// Before and After are bounds, which are excluded. They are a seq only with a
	// Place.
	Before, After postbox.Bound
}

// Search finds messages that have all words of text (docs/spec.md §7, search),
// the newest first, as they are now. It asks for a page at a time, and ends at
// the first error, which it yields. What has just come to the user's inbox is found
// at once, anything else some seconds after it was stored.
func (c *Client) Search(ctx context.Context, text string, o SearchOptions) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		for {
			page, more, err := c.search(ctx, text, o)
			if !yieldAll(page, err, yield) || !more || len(page) == 0 {
				return
			}
			o.Before = AtID(page[len(page)-1].ID)
		}
	}
}

func (c *Client) search(ctx context.Context, text string, o SearchOptions) ([]Envelope, bool, error) {
	request := struct {
		Text string `json:"text"`
		wirePlace
		From   postbox.User `json:"from,omitempty"`
		Before wireBound    `json:"before,omitzero"`
		After  wireBound    `json:"after,omitzero"`
		Limit  int          `json:"limit"`
	}{text, wirePlace(o.Place), o.From, wireBound(o.Before), wireBound(o.After), pageSize}
	var reply struct {
		Messages []json.RawMessage `json:"messages"`
		HasMore  bool              `json:"has_more"`
	}
	if err := c.Call(ctx, "search", request, &reply); err != nil {
		return nil, false, err
	}
	messages, err := readMessages(reply.Messages)
	return messages, reply.HasMore, err
}
