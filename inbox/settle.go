package inbox

import "postbox"

// settleLoop answers the senders of each committed group and hands its entries
// to the devices, in the order of commits.
func (l *Lane) settleLoop() {
	defer close(l.done)
	var origins []Origin
	var posts []post
	for group := range l.groups {
		origins = settle(group, origins[:0])
		posts = l.o.Hub.deliver(group, posts[:0])
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

// post is one new entry of one user's inbox.
type post struct {
	user  postbox.UserID
	entry *postbox.Entry
}

// postsOf lists the new entries of a group, each inbox's in order.
func postsOf(group []*Draft, posts []post) []post {
	for _, d := range group {
		if d.Refusal != nil || d.Duplicate || d.Action != Append && d.Action != Amend {
			continue
		}
		if d.Action == Amend {
			posts = changePosts(d.Change, posts)
			continue
		}
		m := d.Publish.Message
		posts = append(posts, post{m.Sender, &postbox.Entry{InboxSeq: d.Publish.InboxSeq, Message: m, Own: true}})
		for i, r := range d.Publish.Recipients {
			posts = append(posts, post{r, &postbox.Entry{InboxSeq: d.Publish.InboxSeqs[i], Message: m}})
		}
	}
	return posts
}

// changePosts lists the entries of a change, one for each whom it concerns.
func changePosts(c *postbox.Change, posts []post) []post {
	for i, r := range c.Recipients {
		posts = append(posts, post{r, &postbox.Entry{
			InboxSeq: c.InboxSeqs[i], Type: c.Type, Message: c.Message, Event: &c.Event, Own: r == c.Actor,
		}})
	}
	return posts
}
