package apitest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"postbox"
	"postbox/inbox"
)

// Mail runs a hub and a lane on the world until the test ends: what is sent
// through the writer reaches those who subscribe at the hub.
func (w *World) Mail(t testing.TB) (*inbox.Hub, inbox.Writer) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	hub := inbox.NewHub(w, Epoch, log)
	lane := inbox.NewLane(inbox.LaneOptions{Appender: w, Router: w, Hub: hub, Logger: log})
	hub.Start()
	lane.Start(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := lane.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return hub, inbox.Writer{LaneOf: func(postbox.UserID) *inbox.Lane { return lane }}
}

// Routes implements inbox.Router.
func (w *World) Routes(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	routes := make([]postbox.Route, len(keys))
	for i, k := range keys {
		from := w.person(k.Sender)
		if err := w.mayWrite(from.Name, postbox.Topic{Kind: postbox.KindInbox, User: k.To}); err != nil {
			routes[i].Refusal = postbox.AsError(err)
			continue
		}
		routes[i].Conversation = w.between(from.Name, k.To, "", true).ID
		if k.To != from.Name {
			routes[i].Recipients = []postbox.UserID{w.Users[k.To].ID}
		}
	}
	return routes, nil
}

// Decide implements inbox.Router: changes of rooms are not for a lane of a World.
func (w *World) Decide(_ context.Context, c *postbox.Change) error {
	c.Refusal = postbox.Errorf(postbox.CodeNotFound, "there is no room %s", c.Event.Room)
	return nil
}

// Append implements inbox.Appender.
func (w *World) Append(ctx context.Context, b *postbox.Batch) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	for _, p := range b.Publishes {
		m := p.Message
		key := fmt.Sprint(m.Sender, " ", m.Key)
		if u, ok := w.used[key]; ok && m.Key != "" {
			stored := u.stored
			p.Used = &stored
			continue
		}
		c := w.of(m.Conversation)
		p.Numbered(postbox.Seq(len(c.Messages)+1), 0, w.now())
		c.Messages = append(c.Messages, m)
		c.Read[m.From] = m.Seq
		ids, numbers := w.append(c.Users, m.From, postbox.Entry{Type: postbox.EntryMessage, Message: m})
		p.InboxSeqs = make([]postbox.InboxSeq, len(p.Recipients))
		for i, id := range ids {
			if id == m.Sender {
				p.InboxSeq = numbers[i]
			} else {
				p.InboxSeqs[0] = numbers[i]
			}
		}
		if m.Key != "" {
			w.used[key] = used{stored: postbox.Stored{ID: m.ID, Seq: m.Seq, InboxSeq: p.InboxSeq, SentAt: m.SentAt, Digest: p.Digest}}
		}
	}
	return nil
}
