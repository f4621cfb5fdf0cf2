package client

import (
	"context"
	"encoding/json"
	"iter"

	"postbox"
)

// Conversation is one in the user's list.
type Conversation struct {
	Place
	Last    *Envelope   // the last message that the user may see; nil: none
	Unread  int         // others' messages after ReadSeq, counted to 1,000
	ReadSeq postbox.Seq // how far the user has read
	// PeerDelivered and PeerRead are how far the other side of a direct
	// conversation has got and read it, as far as the user may know.
	PeerDelivered, PeerRead postbox.Seq
}

// Conversations lists those of the user, the one with the newest message first.
// It asks for a page at a time, and ends at the first error, which it yields. A
// conversation that gets a message meanwhile may be missing or come twice. Rooms
// without a message come at the end, by name.
func (c *Client) Conversations(ctx context.Context) iter.Seq2[Conversation, error] {
	return func(yield func(Conversation, error) bool) {
		var from postbox.ListBound
		for {
			page, more, err := c.conversations(ctx, from)
			if !yieldAll(page, err, yield) || !more || len(page) == 0 {
				return
			}
			if last := page[len(page)-1]; last.Last != nil {
				from.Before = last.Last.ID
			} else {
				from.AfterRoom = last.Room
			}
		}
	}
}

func (c *Client) conversations(ctx context.Context, from postbox.ListBound) ([]Conversation, bool, error) {
	request := struct {
		Limit     int          `json:"limit"`
		Before    wireID       `json:"before,omitzero"`
		AfterRoom postbox.Room `json:"after_room,omitempty"`
	}{pageSize, wireID(from.Before), from.AfterRoom}
	var reply struct {
		Conversations []struct {
			wirePlace
			Last    json.RawMessage `json:"last"`
			Unread  int             `json:"unread"`
			ReadSeq postbox.Seq     `json:"read_seq"`
			Peer    struct {
				Delivered postbox.Seq `json:"delivered_seq"`
				Read      postbox.Seq `json:"read_seq"`
			} `json:"peer"`
		} `json:"conversations"`
		HasMore bool `json:"has_more"`
	}
	if err := c.Call(ctx, "conversations", request, &reply); err != nil {
		return nil, false, err
	}
	page := make([]Conversation, len(reply.Conversations))
	for i, w := range reply.Conversations {
		page[i] = Conversation{
			Place: Place(w.wirePlace), Unread: w.Unread, ReadSeq: w.ReadSeq,
			PeerDelivered: w.Peer.Delivered, PeerRead: w.Peer.Read,
		}
		if w.Last != nil {
			last, err := readEnvelope(w.Last, TypeMessage)
			if err != nil {
				return nil, false, err
			}
			page[i].Last = &last
		}
	}
	return page, reply.HasMore, nil
}
