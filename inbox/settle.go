package inbox

import "postbox"

// settleLoop answers the senders of each committed group and hands its entries
// to the devices, in the order of commits.
func (c *committer) settleLoop() {
	var users []postbox.UserID
	var origins []Origin
	var posts []post
	for group := range c.groups {
		users = users[:0]
		for _, d := range group {
			users = append(users, d.User)
		}
		origins = settle(group, origins[:0])
		c.settled(users)
		posts = c.o.Hub.deliver(group, posts[:0])
		clear(posts)
		clear(group) // the rest of the queue is in the same array
	}
}

// settle tells each origin of a group about its drafts, then flushes each once.
func settle(group []*Draft, origins []Origin) []Origin {
	var last Origin
	for _, d := range group {
		if d.Origin == nil {
			continue
		}
		if d.Origin != last {
			origins = append(origins, d.Origin)
			last = d.Origin
		}
		d.Origin.Settled(d)
	}
	for i, o := range origins {
		o.Flush()
		origins[i] = nil
	}
	return origins
}

// post is one new entry of the inbox of a user who is connected.
type post struct {
	draft  *Draft
	box    *mailbox
	number postbox.InboxSeq
}

func (p post) entry() *postbox.Entry {
	if c := p.draft.Change; c != nil {
		return &postbox.Entry{InboxSeq: p.number, Type: c.Type, Message: c.Message, Event: &c.Event, Own: p.box.user == c.Actor}
	}
	m := p.draft.Publish.Message
	return &postbox.Entry{InboxSeq: p.number, Message: m, Own: p.box.user == m.Sender}
}
