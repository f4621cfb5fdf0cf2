package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postbox"
)

// The types of envelope of docs/spec.md §4. A later server may send others.
const (
	TypeMessage = "message"
	TypeEdit    = "edit"
	TypeRetract = "retract"
	TypeRead    = "read"
	TypeRoom    = "room"
	TypeGap     = "gap"
	TypeError   = "error"
)

// Envelope is what a device receives, docs/spec.md §4. Fields that its type
// does not have are zero.
type Envelope struct {
	Type string

	// InboxSeq is the position in the user's inbox, zero for a gap or an error.
	InboxSeq postbox.InboxSeq
	// After is the number up to which nothing else is due to this device:
	// InboxSeq−1, unless the server spared it some entries. In a gap, the last
	// number before it.
	After postbox.InboxSeq
	// Next is, in a gap, the first number after it.
	Next  postbox.InboxSeq
	Epoch postbox.Epoch

	ID     postbox.MessageID
	From   postbox.User
	To     postbox.User // of a direct message
	Room   postbox.Room // of a room's
	Seq    postbox.Seq  // position in the conversation
	SentAt time.Time

	ContentType string
	// Body is nil when there is none to show: Retracted, Expired, TooLarge, or
	// a type without a body. An empty body is not nil.
	Body []byte
	// Ref is the app's own JSON object. In an edit or a retraction it is
	// {"id":…}, the message that it is about.
	Ref       json.RawMessage
	EditedAt  time.Time
	Retracted bool
	Expired   bool
	// TooLarge is the size in bytes of an envelope too large for this client.
	TooLarge int

	// Key and Device are the idempotency key and the sending device, in copies
	// of the user's own messages; Key is set in an error too.
	Key    string
	Device string

	// Code, Topic and Text are of an error, Code also of a gap.
	Code  postbox.Code
	Topic string
	Text  string

	// Event is what has happened to a room: the entry's Type is room. Subject and
	// Role are of the events about a member: whom, and their role now. Title,
	// Public and History are what holds now, of created and updated.
	Event   postbox.RoomAct
	Subject postbox.User
	Role    postbox.Role
	Title   string
	Public  bool
	History postbox.History
}

// wireEnvelope is the JSON object. Fields that must be told from absent are
// pointers.
type wireEnvelope struct {
	Type        string            `json:"type"`
	InboxSeq    postbox.InboxSeq  `json:"inbox_seq"`
	After       *postbox.InboxSeq `json:"after"`
	Next        postbox.InboxSeq  `json:"next"`
	Epoch       postbox.Epoch     `json:"epoch"`
	ID          wireID            `json:"id"`
	From        postbox.User      `json:"from"`
	To          postbox.User      `json:"to"`
	Room        postbox.Room      `json:"room"`
	Seq         postbox.Seq       `json:"seq"`
	SentAt      time.Time         `json:"sent_at"`
	ContentType string            `json:"content_type"`
	Body        *string           `json:"body"`
	BodyBase64  *[]byte           `json:"body_base64"`
	Ref         json.RawMessage   `json:"ref"`
	EditedAt    time.Time         `json:"edited_at"`
	Retracted   bool              `json:"retracted"`
	Expired     bool              `json:"expired"`
	TooLarge    int               `json:"too_large"`
	Key         string            `json:"idempotency_key"`
	Device      string            `json:"device"`
	Code        postbox.Code      `json:"code"`
	Topic       string            `json:"topic"`
	Message     string            `json:"message"`
	Event       postbox.RoomAct   `json:"event"`
	User        postbox.User      `json:"user"`
	Role        postbox.Role      `json:"role"`
	Title       string            `json:"title"`
	Public      bool              `json:"public"`
	History     postbox.History   `json:"history"`
}

// ParseEnvelope reads one envelope. Fields and types that it does not know are
// no error, so that a newer server can be read.
func ParseEnvelope(data []byte) (Envelope, error) { return readEnvelope(data, "") }

// readEnvelope is ParseEnvelope of one whose type is known to be usual unless it
// says so itself.
func readEnvelope(data []byte, usual string) (Envelope, error) {
	w := wireEnvelope{Type: usual}
	if err := json.Unmarshal(data, &w); err != nil {
		return Envelope{}, fmt.Errorf("read envelope of %d bytes: %w", len(data), err)
	}
	if w.Type == "" {
		return Envelope{}, errors.New("read envelope: it has no type")
	}
	e := Envelope{
		Type: w.Type, InboxSeq: w.InboxSeq, Next: w.Next, Epoch: w.Epoch,
		From: w.From, To: w.To, Room: w.Room, Seq: w.Seq, SentAt: w.SentAt,
		ContentType: w.ContentType, Ref: w.Ref, EditedAt: w.EditedAt,
		Retracted: w.Retracted, Expired: w.Expired, TooLarge: w.TooLarge,
		Key: w.Key, Device: w.Device, Code: w.Code, Topic: w.Topic, Text: w.Message,
		Event: w.Event, Subject: w.User, Role: w.Role,
		Title: w.Title, Public: w.Public, History: w.History, ID: postbox.MessageID(w.ID),
	}
	switch {
	case w.After != nil:
		e.After = *w.After
	case w.InboxSeq > 0:
		e.After = w.InboxSeq - 1
	}
	switch {
	case w.Body != nil:
		e.Body = []byte(*w.Body)
	case w.BodyBase64 != nil:
		e.Body = *w.BodyBase64
	}
	return e, nil
}

// Position is the place in the inbox behind this entry or gap.
func (e *Envelope) Position() postbox.Position {
	if e.Type == TypeGap {
		return postbox.Position{Epoch: e.Epoch, Seq: max(e.Next-1, 0)}
	}
	return postbox.Position{Epoch: e.Epoch, Seq: e.InboxSeq}
}
