package apitest

import (
	"context"
	"fmt"
	"slices"

	"postbox"
)

// Send implements api.Writer.
func (w *World) Send(ctx context.Context, to postbox.Topic, p *postbox.Publish) (postbox.Stored, bool, error) {
	if err := w.begin(ctx); err != nil {
		return postbox.Stored{}, false, err
	}
	defer w.Unlock()
	m := p.Message
	key := fmt.Sprint(m.Sender, " ", m.Key)
	if u, ok := w.used[key]; ok && m.Key != "" {
		if u.stored.Digest != p.Digest {
			return postbox.Stored{}, false, postbox.ErrConflict
		}
		return u.stored, true, nil
	}
	if err := w.mayWrite(m.From, to); err != nil {
		return postbox.Stored{}, false, err
	}
	c := w.between(m.From, to.User, to.Room, true)
	m.Conversation = c.ID
	p.Numbered(postbox.Seq(len(c.Messages)+1), 0, w.now())
	c.Messages = append(c.Messages, m)
	c.Read[m.From] = m.Seq
	ids, numbers := w.append(c.Users, m.From, postbox.Entry{Type: postbox.EntryMessage, Message: m})
	stored := postbox.Stored{
		ID: m.ID, Seq: m.Seq, SentAt: m.SentAt, Digest: p.Digest, InboxSeq: numbers[slices.Index(ids, m.Sender)],
	}
	if m.Key != "" {
		w.used[key] = used{stored: stored}
	}
	return stored, false, nil
}

func (w *World) mayWrite(from postbox.User, to postbox.Topic) error {
	if to.Kind == postbox.KindRoom {
		if !slices.Contains(w.Rooms[to.Room], from) {
			return postbox.Errorf(postbox.CodeNotFound, "there is no room %s that you may see", to.Room)
		}
		return nil
	}
	p := w.Users[to.User]
	switch {
	case p == nil:
		return postbox.Errorf(postbox.CodeNotFound, "there is no user %s", to.User)
	case slices.Contains(p.Blocks, from) || p.Accept == "nobody":
		return postbox.Errorf(postbox.CodeForbidden, "%s takes no messages from you", to.User)
	}
	return nil
}

// find looks for a message that the user may see.
func (w *World) find(user postbox.User, id postbox.MessageID) (*Conversation, int) {
	for _, c := range w.Talks {
		if !slices.Contains(c.Users, user) {
			continue
		}
		if i := slices.IndexFunc(c.Messages, func(m *postbox.Message) bool { return m.ID == id }); i >= 0 {
			return c, i
		}
	}
	return nil, 0
}

// Change implements api.Writer.
func (w *World) Change(ctx context.Context, c *postbox.Change) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	actor := w.person(c.Actor)
	if c.Type == postbox.EntryRead {
		if slices.ContainsFunc(w.Announced, func(a *postbox.Change) bool { return a.Event.ID == c.Event.ID }) {
			return postbox.ErrNotFound // as in the database: a second try of another change
		}
		w.Announced = append(w.Announced, c)
		users := []postbox.User{actor.Name}
		if c.Event.At = w.now(); !c.Quiet && c.Event.To != actor.Name {
			users = append(users, c.Event.To)
		}
		c.Recipients, c.InboxSeqs = w.append(users, actor.Name, postbox.Entry{Type: c.Type, Event: &c.Event})
		return nil
	}
	if c.Type == postbox.EntryRoom {
		c.Refusal = postbox.Errorf(postbox.CodeForbidden, "the rooms of a World stay as they are")
		return nil
	}
	key := fmt.Sprint(c.Actor, " ", c.Event.Key)
	if u, ok := w.used[key]; ok && c.Event.Key != "" {
		if u.change == nil || u.change.Digest != c.Digest {
			return postbox.ErrConflict
		}
		before := *u.change
		*c = before
		c.Duplicate = true
		return nil
	}
	talk, i := w.find(actor.Name, c.Target)
	if talk == nil {
		return postbox.Errorf(postbox.CodeNotFound, "there is no message %s that you may see", c.Target)
	}
	old := talk.Messages[i]
	if old.Sender != c.Actor {
		return postbox.Errorf(postbox.CodeForbidden, "only its author may change a message")
	}
	changed := *old
	c.Event.At = w.now()
	if c.Type == postbox.EntryEdit {
		changed.Body, changed.EditedAt = c.Body, c.Event.At
	} else {
		changed.Body, changed.RetractedAt = nil, c.Event.At
	}
	talk.Messages[i], c.Message = &changed, &changed
	w.replace(old, &changed)
	c.Event.To, c.Event.Room, c.Event.Seq = old.To, old.Room, old.Seq
	c.Recipients, c.InboxSeqs = w.append(talk.Users, actor.Name, postbox.Entry{Type: c.Type, Message: &changed, Event: &c.Event})
	if c.Event.Key != "" {
		w.used[key] = used{change: c}
	}
	return nil
}

// replace gives all entries of a message its present state.
func (w *World) replace(old, changed *postbox.Message) {
	for _, p := range w.Users {
		for i, e := range p.Inbox {
			if e != nil && e.Message == old {
				entry := *e
				entry.Message = changed
				p.Inbox[i] = &entry
			}
		}
	}
}
