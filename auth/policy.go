package auth

import "postbox"

// Accept is from whom a user takes direct messages.
type Accept string

// The values of a user's accept setting.
const (
	AcceptEveryone Accept = "everyone"
	AcceptKnown    Accept = "known"
	AcceptNobody   Accept = "nobody"
)

// ParseAccept checks an accept setting. The error is ErrInvalid.
func ParseAccept(s string) (Accept, error) {
	switch a := Accept(s); a {
	case AcceptEveryone, AcceptKnown, AcceptNobody:
		return a, nil
	}
	return "", postbox.Errorf(postbox.CodeInvalid, "accept is %q: write everyone, known or nobody", s)
}

// Recipient is what has to be known of a user before somebody may write to
// them. Blocked and Knows are about that somebody.
type Recipient struct {
	User postbox.User
	// Exists is false for a name that nobody has.
	Exists bool
	// Erased is true once the person is gone and only the name is reserved.
	Erased bool
	Accept Accept
	// Blocked is true when the recipient has blocked the sender.
	Blocked bool
	// Knows is true when the recipient has written to the sender, or shares a
	// room with them.
	Knows bool
}

// MayWrite decides whether sender may write to a user, and returns nil or why
// not: ErrNotFound for a name that nobody has (an erased one is told apart by
// nobody), ErrForbidden for somebody who does not take messages from sender.
// Its sentence does not say whether that is a block. Everybody may write to
// themself.
func MayWrite(sender postbox.User, to Recipient) error {
	switch {
	case !to.Exists || to.Erased:
		return postbox.Errorf(postbox.CodeNotFound, "there is no user %s", to.User)
	case sender == to.User:
		return nil
	case !to.Blocked && to.Accept == AcceptEveryone,
		!to.Blocked && to.Accept == AcceptKnown && to.Knows:
		return nil
	}
	return postbox.Errorf(postbox.CodeForbidden, "%s does not accept messages from you", to.User)
}
