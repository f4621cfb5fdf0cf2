package broker

import (
	"context"
	"fmt"
	"slices"

	"postbox"
)

// Routes implements inbox.Router.
func (m *memory) Routes(_ context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	routes := make([]postbox.Route, len(keys))
	for i, k := range keys {
		routes[i].Conversation = postbox.ConversationID(k.Sender)
		if m.users[string(k.To)] != k.Sender {
			routes[i] = postbox.Route{Refusal: postbox.Errorf(postbox.CodeForbidden, "nobody writes to %s", k.To)}
		}
	}
	return routes, nil
}

// Decide implements inbox.Router.
func (m *memory) Decide(_ context.Context, c *postbox.Change) error {
	m.fault("a change of a room")
	return postbox.ErrForbidden
}

// Append implements inbox.Appender.
func (m *memory) Append(_ context.Context, b *postbox.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range b.Publishes {
		msg := p.Message
		if m.names[msg.Sender] != string(msg.From) || msg.From != msg.To || len(p.Recipients) > 0 {
			m.fault("user %d stores a message from %s to %s", msg.Sender, msg.From, msg.To)
		}
		key := fmt.Sprint(msg.Sender, " ", msg.Key)
		if used, ok := m.keys[key]; ok && msg.Key != "" {
			p.Used = &used
			continue
		}
		n := postbox.InboxSeq(len(m.logs[msg.Sender]) + 1)
		p.Numbered(postbox.Seq(n), n, b.Now)
		m.logs[msg.Sender] = append(m.logs[msg.Sender], &postbox.Entry{InboxSeq: n, Message: msg, Own: true})
		stored := postbox.Stored{ID: msg.ID, Seq: msg.Seq, InboxSeq: n, SentAt: msg.SentAt, Digest: p.Digest}
		if msg.Key != "" {
			m.keys[key] = stored
		}
		if p.QoS > 0 {
			m.sent[fmt.Sprint(sessionKey(msg.Sender, msg.Device), " ", p.PacketID)] = postbox.SentPublish{PacketID: p.PacketID, QoS: p.QoS, Stored: stored}
		}
	}
	return nil
}

// Change implements inbox.Appender: connections ask for none yet.
func (m *memory) Change(context.Context, *postbox.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault("a change")
	return postbox.ErrForbidden
}

// Head implements inbox.Reader.
func (m *memory) Head(_ context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return postbox.InboxSeq(len(m.logs[user])), nil
}

// Entries implements inbox.Reader.
func (m *memory) Entries(_ context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	log := m.logs[user]
	upTo = min(upTo, postbox.InboxSeq(len(log)), after+postbox.InboxSeq(limit))
	if after >= upTo {
		return nil, nil
	}
	return slices.Clone(log[after:upTo]), nil
}

// SaveCursors implements inbox.Reader.
func (m *memory) SaveCursors(ctx context.Context, saves []postbox.CursorSave) error {
	for _, save := range saves {
		_ = m.SetCursor(ctx, save.Device, save.Epoch, save.Cursor)
	}
	return nil
}
