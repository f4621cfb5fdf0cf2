package apitest

import (
	"fmt"
	"slices"
)

// RoomEntry is an entry of an inbox as far as it tells who is in a room.
type RoomEntry struct {
	Type, From  string
	Event, User string // of a change
	Seq         int64  // of a message
	Line        string // all of it that everybody gets alike
}

// Membership is what a room looks like from the inbox of one who never leaves it:
// whose inbox tells all that happened, in the order in which it did. It is used by
// one goroutine at a time.
type Membership struct {
	// Sees are the lines due to each user, in order.
	Sees map[string][]string
	// Spans are the messages that each was in for: after, up to. Of one who is in, the
	// last one has no end, and 0 there.
	Spans map[string][][2]int64
	// Last is the number of the last message.
	Last int64

	in map[string]bool
}

// NewMembership is of a room that its first members have just come into.
func NewMembership(members ...string) *Membership {
	m := &Membership{Sees: map[string][]string{}, Spans: map[string][][2]int64{}, in: map[string]bool{}}
	for _, user := range members {
		m.enter(user)
	}
	return m
}

// Take takes the next entry, and returns what cannot be.
func (m *Membership) Take(e RoomEntry) error {
	switch {
	case e.Type == "message":
		before := m.Last
		m.Last = e.Seq
		if e.Seq != before+1 {
			return fmt.Errorf("message %d follows %d", e.Seq, before)
		}
		if !m.in[e.From] {
			return fmt.Errorf("message %d is from %s, who is not in the room", e.Seq, e.From)
		}
	case e.Event == "added" || e.Event == "joined":
		if m.in[e.User] {
			return fmt.Errorf("%s is in the room, and is %s again", e.User, e.Event)
		}
		m.enter(e.User)
	case e.Event == "left" || e.Event == "removed":
		if !m.in[e.User] {
			return fmt.Errorf("%s is not in the room, and has %s", e.User, e.Event)
		}
		m.tell(e.Line)
		m.in[e.User] = false
		m.Spans[e.User][len(m.Spans[e.User])-1][1] = m.Last
		return nil
	}
	m.tell(e.Line)
	return nil
}

func (m *Membership) enter(user string) {
	m.in[user] = true
	m.Spans[user] = append(m.Spans[user], [2]int64{m.Last, 0})
}

func (m *Membership) tell(line string) {
	for user, in := range m.in {
		if in {
			m.Sees[user] = append(m.Sees[user], line)
		}
	}
}

// May reports whether a user may read a message by the history of the room, all or
// joined.
func (m *Membership) May(user, history string, seq int64) bool {
	if m.in[user] { // since the last of the spans
		spans := m.Spans[user]
		if history == "all" || len(spans) > 0 && spans[len(spans)-1][0] < seq {
			return true
		}
	}
	// Who left before the first message was there up to 0, too.
	return slices.ContainsFunc(m.Spans[user], func(s [2]int64) bool { return s[0] < seq && seq <= s[1] })
}
