package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// entry is an entry of an inbox, or a message of a conversation, as the API has it
// (docs/spec.md §4).
type entry struct {
	Type        string    `json:"type"`      // of an entry; empty: a message
	InboxSeq    int64     `json:"inbox_seq"` // of an entry
	ID          string    `json:"id"`
	From        string    `json:"from"`
	To          string    `json:"to"`
	Room        string    `json:"room"`
	Seq         int64     `json:"seq"`
	SentAt      time.Time `json:"sent_at"`
	EditedAt    time.Time `json:"edited_at"`
	ContentType string    `json:"content_type"`
	Body        *string   `json:"body"`
	Base64      *string   `json:"body_base64"`
	Retracted   bool      `json:"retracted"`
	Expired     bool      `json:"expired"`
	TooLarge    int64     `json:"too_large"`

	// Of a room's event.
	Event string  `json:"event"`
	User  string  `json:"user"`
	Role  string  `json:"role"`
	Title *string `json:"title"`

	// Of a gap.
	Code  string `json:"code"`
	After int64  `json:"after"`
	Next  int64  `json:"next"`
}

func parseEntry(text []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("the server sends what this program does not understand: %w", err)
	}
	e.From, e.To, e.Room = printable(e.From, false), printable(e.To, false), printable(e.Room, false)
	return e, nil
}

// between is who wrote where.
func (e entry) between() string {
	switch {
	case e.Room != "":
		return e.From + " > #" + e.Room
	case e.To != "":
		return e.From + " > " + e.To
	}
	return e.From
}

// content is the body for a person, without what a terminal would obey; of what has
// none, why.
func (e entry) content(s *screen) string {
	aside := func(format string, args ...any) string { return s.paint(faint, "("+fmt.Sprintf(format, args...)+")") }
	switch {
	case e.Retracted:
		return aside("retracted")
	case e.Expired:
		return aside("expired")
	case e.TooLarge > 0:
		return aside("%d bytes, too large to be shown here", e.TooLarge)
	case e.Base64 != nil:
		return aside("%d bytes of %s", size(*e.Base64), printable(e.ContentType, false))
	case e.Body == nil:
		return ""
	}
	text := printable(*e.Body, true)
	if !e.EditedAt.IsZero() {
		text += " " + aside("edited")
	}
	return text
}

// says is one entry in words.
func (e entry) says(s *screen) string {
	number := "#" + strconv.FormatInt(e.Seq, 10)
	switch e.Type {
	case "", "message":
		return e.content(s)
	case "edit":
		return s.paint(yellow, "changed "+number+": ") + e.content(s)
	case "retract":
		return s.paint(yellow, "retracted "+number)
	case "read":
		return s.paint(faint, "has read up to "+number)
	case "delivered":
		return s.paint(faint, "has got up to "+number)
	case "signal":
		return s.paint(faint, "signals: ") + e.content(s)
	case "room":
		return s.paint(green, e.happened())
	case "gap":
		return s.paint(yellow, fmt.Sprintf("entries %d to %d are not to be had any more (%s)", e.After+1, e.Next-1, printable(e.Code, false)))
	}
	return printable(e.Type, false)
}

// happened is a room's event in words.
func (e entry) happened() string {
	user, role := printable(e.User, false), printable(e.Role, false)
	what := printable(e.Event, false)
	if user != "" && user != e.From {
		what += " " + user
	}
	if role != "" {
		what += " as " + role
	}
	if e.Title != nil && *e.Title != "" {
		what += fmt.Sprintf(" (%s)", printable(*e.Title, false))
	}
	return what
}

// listing prints entries in lines, one below the other in columns that only grow.
type listing struct {
	s       *screen
	numbers bool // of one conversation: with seq, and who wrote is enough
	seq     int
	who     int
}

// fit makes the columns wide enough for entries that are printed together.
func (l *listing) fit(all []entry) {
	for _, e := range all {
		l.seq = max(l.seq, len(strconv.FormatInt(e.Seq, 10)))
		l.who = max(l.who, len(l.name(e)))
	}
}

func (l *listing) name(e entry) string {
	if l.numbers {
		return e.From
	}
	return e.between()
}

// line is one entry, with the lines of its body below each other.
func (l *listing) line(e entry) string {
	l.fit([]entry{e})
	at, lead := 0, ""
	if l.numbers {
		n := fmt.Sprintf("%*d  ", l.seq, e.Seq)
		lead, at = l.s.paint(faint, n), len(n)
	}
	when := pad(moment(e.SentAt), len(time.DateTime))
	who := pad(l.name(e), l.who)
	at += len(when) + 2 + len(who) + 2
	text := strings.TrimRight(e.says(l.s), "\n")
	text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", at))
	return lead + l.s.paint(faint, when) + "  " + l.s.paint(cyan, who) + "  " + text + "\n"
}
