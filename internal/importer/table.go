package importer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// column is one of a table.
type column struct {
	name string
	// moment says that its times without an offset are UTC, whatever clock the
	// application goes by.
	moment bool
}

// table is something with named columns and rows.
type table interface {
	// label is what the table is called, in messages and in the names of its rows.
	label() string
	columns() []column
	// count is the number of rows; -1 if it is not known.
	count(ctx context.Context) (int64, error)
	// read calls each for every row: in the order of the column key, an index
	// into columns, or as they come if it is negative. It ends with the first error
	// of each. The row is valid until each returns.
	read(ctx context.Context, columns []string, key int, each func(row []sql.NullString) error) error
}

// errEnough ends a reading early.
var errEnough = errors.New("enough was read")

// field is something that is read of a row: what it is called on the command line,
// and what it usually is in a table.
type field struct {
	name   string
	usual  []string
	needed bool
}

// Fields of messages and users, in this order in their rows.
var (
	messageFields = []field{
		{"id", []string{"id", "message_id", "msg_id", "messageid"}, false},
		{"sender", []string{"sender", "sender_id", "from_user", "from_user_id", "from_id", "user_from", "sent_by", "author", "author_id", "from"}, true},
		{"receiver", []string{"receiver", "receiver_id", "recipient", "recipient_id", "to_user", "to_user_id", "to_id", "user_to", "sent_to", "to"}, true},
		{"body", []string{"message", "content", "body", "text", "message_text", "msg"}, true},
		{"created_at", []string{"created_at", "sent_at", "created", "created_on", "date_created", "timestamp", "datetime", "sent", "date", "time"}, true},
		{"read", []string{"is_read", "read_at", "read", "seen_at", "is_seen", "seen", "read_on"}, false},
	}
	userFields = []field{
		{"id", []string{"id", "user_id", "userid", "uid"}, false},
		{"name", []string{"username", "user_name", "login", "nickname", "handle", "name"}, true},
		{"password", []string{"password_hash", "password", "passwd", "pass", "pwd_hash", "hash"}, false},
		{"display_name", []string{"display_name", "displayname", "full_name", "fullname", "real_name", "name"}, false},
	}
)

// Places of the fields.
const (
	messageID = iota
	messageSender
	messageReceiver
	messageBody
	messageCreated
	messageRead
)

const (
	userID = iota
	userName
	userPassword
	userDisplay
)

// selection is which column each field is read from.
type selection struct {
	columns []column // that are read
	at      []int    // of each field: its place in columns; -1 if there is none
}

// choose finds the columns of fields: those that are given by field, an empty one
// for none, else those with usual names.
func choose(t table, flag string, fields []field, given map[string]string) (selection, error) {
	var s selection
	have := t.columns()
	find := func(name string) int {
		return slices.IndexFunc(have, func(c column) bool { return strings.EqualFold(c.name, name) })
	}
	known := make([]string, 0, len(fields))
	for _, f := range fields {
		known = append(known, f.name)
	}
	for name := range given {
		if !slices.Contains(known, name) {
			return s, fmt.Errorf("%s %s=…: there is no such field, but %s", flag, name, strings.Join(known, ", "))
		}
	}
	for _, f := range fields {
		at := -1
		if name, ok := given[f.name]; ok {
			if at = find(name); at < 0 && name != "" {
				return s, fmt.Errorf("%s %s=%s: %s has no such column; it has %s", flag, f.name, name, t.label(), listed(have))
			}
		} else {
			for _, usual := range f.usual {
				if at = find(usual); at >= 0 && !slices.Contains(s.columns, have[at]) {
					break
				}
				at = -1
			}
		}
		if at < 0 && f.needed {
			return s, fmt.Errorf("no column of %s looks like %s: name it with %s %s=COLUMN; there are %s", t.label(), f.name, flag, f.name, listed(have))
		}
		place := -1
		if at >= 0 {
			place = len(s.columns)
			s.columns = append(s.columns, have[at])
		}
		s.at = append(s.at, place)
	}
	return s, nil
}

func listed(all []column) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = shortened(c.name)
	}
	return strings.Join(names, ", ")
}

func (s *selection) names() []string {
	names := make([]string, len(s.columns))
	for i, c := range s.columns {
		names[i] = c.name
	}
	return names
}

// has reports whether a field is read.
func (s *selection) has(f int) bool { return s.at[f] >= 0 }

// value is a field of a row; invalid if it is NULL or not read.
func (s *selection) value(row []sql.NullString, f int) sql.NullString {
	if s.at[f] < 0 {
		return sql.NullString{}
	}
	return row[s.at[f]]
}

// moment reports whether times of a field are moments.
func (s *selection) moment(f int) bool { return s.at[f] >= 0 && s.columns[s.at[f]].moment }
