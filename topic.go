package postbox

import (
	"strings"
	"unicode/utf8"
)

// Kind is the first level of a topic of docs/spec.md §3.
type Kind uint8

// The kinds of topic.
const (
	KindInbox    Kind = iota + 1 // inbox/{user}[/{key}]
	KindRoom                     // room/{room}[/{key}]
	KindSignal                   // signal/{user}, signal/room/{room}
	KindPresence                 // presence/{user}
	KindAPI                      // api/v1/{operation}
	KindReply                    // reply/{user}/…
)

// Topic is a parsed topic that a client publishes to. Key is set for
// KindInbox and KindRoom only, Operation for KindAPI only.
type Topic struct {
	Kind      Kind
	User      User
	Room      Room
	Key       string
	Operation string
}

// ParseTopic parses a topic that a client publishes to. Topics that exist but
// that no client may write to are ErrForbidden, all else that has no place in
// docs/spec.md §3 is ErrInvalid.
func ParseTopic(s string) (Topic, error) {
	if err := checkDepth("topic", s); err != nil {
		return Topic{}, err
	}
	head, rest, _ := strings.Cut(s, "/")
	switch head {
	case "inbox":
		name, key, keyed := strings.Cut(rest, "/")
		user, err := ParseUser(name)
		if err != nil {
			return Topic{}, err
		}
		if strings.HasPrefix(key, "since/") {
			return Topic{}, Errorf(CodeForbidden, "%s is a control filter: nobody publishes to it", quote(s))
		}
		return Topic{Kind: KindInbox, User: user, Key: key}, checkTopicKey(key, keyed)
	case "room":
		name, key, keyed := strings.Cut(rest, "/")
		room, err := ParseRoom(name)
		if err != nil {
			return Topic{}, err
		}
		return Topic{Kind: KindRoom, Room: room, Key: key}, checkTopicKey(key, keyed)
	case "signal":
		if name, ok := strings.CutPrefix(rest, "room/"); ok {
			room, err := ParseRoom(name)
			return Topic{Kind: KindSignal, Room: room}, err
		}
		user, err := ParseUser(rest)
		return Topic{Kind: KindSignal, User: user}, err
	case "api":
		if op, ok := strings.CutPrefix(rest, "v1/"); ok && op != "" && !strings.Contains(op, "/") {
			return Topic{Kind: KindAPI, Operation: op}, nil
		}
	case "presence", "reply", "$SYS":
		return Topic{}, Errorf(CodeForbidden, "only the server publishes to %s", quote(s))
	}
	return Topic{}, Errorf(CodeInvalid, "there is no topic %s: publish to inbox/{user}, room/{room}, signal/{user} or api/v1/{operation}", quote(s))
}

func checkTopicKey(key string, keyed bool) error {
	if !keyed {
		return nil
	}
	return CheckKey(key)
}

// Filter is a parsed topic filter that a client subscribes to.
type Filter struct {
	Kind  Kind
	User  User     // the user named in it; empty for presence/+
	Since Position // for the control filter inbox/{me}/since/{epoch}:{n}
	// Control is true for inbox/{me}/since/…, which is granted but delivers
	// nothing itself.
	Control bool
}

// ParseFilter parses a filter that a client subscribes to and decides whether
// me may have it, as far as the filter alone can tell: whose presence me may
// see is not decided here. Filters of docs/spec.md §3 that belong to others
// are ErrForbidden, and so are wildcards and shared subscriptions; a filter
// too long or too deep is ErrInvalid.
func ParseFilter(s string, me User) (Filter, error) {
	if err := checkDepth("filter", s); err != nil {
		return Filter{}, err
	}
	refused := Errorf(CodeForbidden, "no subscription to %s: subscribe to inbox/%s, signal/%s, presence/{user} or reply/%s/…", quote(s), me, me, me)
	head, rest, _ := strings.Cut(s, "/")
	switch head {
	case "inbox":
		name, since, ok := strings.Cut(rest, "/since/")
		if name != string(me) {
			return Filter{}, refused
		}
		if !ok {
			return Filter{Kind: KindInbox, User: me}, nil
		}
		pos, err := ParsePosition(since)
		return Filter{Kind: KindInbox, User: me, Since: pos, Control: true}, err
	case "signal":
		if rest == string(me) {
			return Filter{Kind: KindSignal, User: me}, nil
		}
	case "presence":
		if rest == "+" {
			return Filter{Kind: KindPresence}, nil
		}
		if user, err := ParseUser(rest); err == nil {
			return Filter{Kind: KindPresence, User: user}, nil
		}
	case "reply":
		if name, below, ok := strings.Cut(rest, "/"); ok && name == string(me) && below != "" {
			return Filter{Kind: KindReply, User: me}, checkWildcards(below)
		}
	}
	return Filter{}, refused
}

// checkWildcards refuses a filter in which + is not alone in its level, or # not
// alone in the last [MQTT-4.7.1-1] [MQTT-4.7.1-2]: Mochi grants such, and they
// match nothing.
func checkWildcards(filter string) error {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && len(level) > 1 || level == "#" && i < len(levels)-1 {
			return Errorf(CodeInvalid, "the level %s of the filter is malformed: + stands alone in a level, # alone in the last", quote(level))
		}
	}
	return nil
}

// checkDepth bounds what Mochi's topic index is asked to hold: its cost grows
// with the square of the number of levels.
func checkDepth(kind, s string) error {
	switch {
	case s == "":
		return Errorf(CodeInvalid, "the %s is empty", kind)
	case len(s) > MaxFilterLength:
		return Errorf(CodeInvalid, "the %s has %d bytes; at most %d are allowed", kind, len(s), MaxFilterLength)
	case strings.Count(s, "/") >= MaxFilterLevels:
		return Errorf(CodeInvalid, "the %s has more than %d levels", kind, MaxFilterLevels)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return Errorf(CodeInvalid, "the %s must be UTF-8 without U+0000", kind)
	}
	return nil
}
