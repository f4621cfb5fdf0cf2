package postbox

import "strings"

// Reserved reports whether a topic, or a topic filter, is for Postbox to judge:
// its first level is one of docs/spec.md §3, begins with $ (so does $share/…), or
// is a wildcard, which matches those too. All others are of no concern to
// Postbox; a Mochi server that it is attached to may have topics of its own there.
func Reserved(topic string) bool {
	head, _, _ := strings.Cut(topic, "/")
	switch head {
	case "inbox", "room", "signal", "presence", "api", "reply", "", "+", "#":
		return true
	}
	return strings.HasPrefix(head, "$")
}

// CheckTopic bounds a topic, or a topic filter, of somebody else's as those of
// Postbox are bounded: docs/spec.md §2. Its error is ErrInvalid.
func CheckTopic(s string) error { return checkDepth("topic", s) }
