package apitest

import (
	"context"
	"slices"

	"postbox"
)

// Place implements api.Archive.
func (w *World) Place(ctx context.Context, user postbox.UserID, with postbox.User, room postbox.Room) (postbox.Place, error) {
	if err := w.begin(ctx); err != nil {
		return postbox.Place{}, err
	}
	defer w.Unlock()
	me := w.person(user)
	p := postbox.Place{With: with, Room: room, Spans: []postbox.Span{{}}}
	switch {
	case room != "" && !slices.Contains(w.Rooms[room], me.Name):
		return postbox.Place{}, postbox.Errorf(postbox.CodeNotFound, "there is no room %s that you may see", room)
	case room == "" && w.Users[with] == nil:
		return postbox.Place{}, postbox.Errorf(postbox.CodeNotFound, "there is no user %s", with)
	case room == "":
		p.WithID = w.Users[with].ID
	}
	if c := w.between(me.Name, with, room, false); c != nil {
		p.Conversation = c.ID
	}
	return p, nil
}

func (w *World) of(id postbox.ConversationID) *Conversation {
	for _, c := range w.Talks {
		if c.ID == id {
			return c
		}
	}
	return &Conversation{}
}

// Page implements api.Archive.
func (w *World) Page(ctx context.Context, p postbox.Place, r postbox.PageRequest) (postbox.Page, error) {
	if err := w.begin(ctx); err != nil {
		return postbox.Page{}, err
	}
	defer w.Unlock()
	all := w.of(p.Conversation).Messages
	// Positions: below are the messages before a bound, upTo those up to it.
	find := func(b postbox.Bound) (below, upTo int, err error) {
		for i, m := range all {
			switch {
			case b.ID != postbox.MessageID{} && m.ID == b.ID:
				return i, i + 1, nil
			case b.ID != postbox.MessageID{}:
			case !b.Time.IsZero():
				if m.SentAt.Before(b.Time) {
					below = i + 1
				}
				if !m.SentAt.After(b.Time) {
					upTo = i + 1
				}
			default:
				if m.Seq < b.Seq {
					below = i + 1
				}
				if m.Seq <= b.Seq {
					upTo = i + 1
				}
			}
		}
		if b.ID != (postbox.MessageID{}) {
			return 0, 0, postbox.ErrNotFound
		}
		return below, upTo, nil
	}
	lo, hi := 0, len(all)
	var err error
	if r.Before.Set {
		if hi, _, err = find(r.Before); err != nil {
			return postbox.Page{}, err
		}
	}
	if r.After.Set {
		if _, lo, err = find(r.After); err != nil {
			return postbox.Page{}, err
		}
	}
	hi = max(lo, hi)
	switch {
	case r.Around.Set:
		at, _, err := find(r.Around)
		if err != nil {
			return postbox.Page{}, err
		}
		lo = max(0, at-r.Limit/2)
		hi = min(len(all), lo+r.Limit)
	case r.After.Set:
		hi = min(hi, lo+r.Limit)
	default:
		lo = max(lo, hi-r.Limit)
	}
	return postbox.Page{Messages: slices.Clone(all[lo:hi]), HasBefore: lo > 0, HasAfter: hi < len(all)}, nil
}

// Conversations implements api.Archive.
func (w *World) Conversations(ctx context.Context, user postbox.UserID, from postbox.ListBound, limit int) ([]postbox.Summary, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	me := w.person(user).Name
	var all []postbox.Summary
	for _, c := range w.Talks {
		if !slices.Contains(c.Users, me) {
			continue
		}
		s := postbox.Summary{Place: postbox.Place{Conversation: c.ID, Room: c.Room}, Last: c.Messages[len(c.Messages)-1]}
		if c.Room == "" {
			s.With = c.Users[0]
			if s.With == me && len(c.Users) > 1 {
				s.With = c.Users[1]
			}
			s.PeerRead = c.Read[s.With]
			s.PeerDelivered = s.PeerRead
		}
		s.ReadSeq = c.Read[me]
		for _, m := range c.Messages {
			if m.From != me && m.Seq > s.ReadSeq && s.Unread < 1000 {
				s.Unread++
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b postbox.Summary) int { return b.Last.SentAt.Compare(a.Last.SentAt) })
	if before := from.Before; before != (postbox.MessageID{}) {
		i := slices.IndexFunc(all, func(s postbox.Summary) bool { return s.Last.ID == before })
		if i < 0 {
			return nil, postbox.ErrNotFound
		}
		all = all[i+1:]
	}
	return all[:min(limit, len(all))], nil
}

// MarkRead implements api.Archive.
func (w *World) MarkRead(ctx context.Context, user postbox.UserID, p postbox.Place, seq postbox.Seq) (postbox.Seq, bool, error) {
	if err := w.begin(ctx); err != nil {
		return 0, false, err
	}
	defer w.Unlock()
	c, me := w.of(p.Conversation), w.person(user).Name
	seq = min(seq, postbox.Seq(len(c.Messages)))
	if seq <= c.Read[me] {
		return c.Read[me], false, nil
	}
	c.Read[me] = seq
	return seq, true, nil
}
