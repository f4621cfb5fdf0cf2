package postbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// MessageID is a message's id: a UUIDv7 made by the server (RFC 9562 §5.7).
type MessageID [16]byte

// String is the id in its usual form of 36 characters.
func (id MessageID) String() string { return string(id.Append(nil)) }

// Append appends the usual form of 36 characters.
func (id MessageID) Append(dst []byte) []byte {
	dst = hex.AppendEncode(dst, id[0:4])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[4:6])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[6:8])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[8:10])
	dst = append(dst, '-')
	return hex.AppendEncode(dst, id[10:16])
}

// NewMessageID makes an id with the time of a message that was sent elsewhere, or is
// made up (RFC 9562 §5.7).
func NewMessageID(at time.Time) (id MessageID) {
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// ParseMessageID parses the usual form of 36 characters. The error is
// ErrInvalid.
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	bad := Errorf(CodeInvalid, "%s is not a message id: write a UUID", quote(s))
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, bad
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return id, bad
	}
	return id, nil
}

// Message is one stored message. Its fields never change once it is shared
// between goroutines: an edit makes a new value.
type Message struct {
	ID           MessageID
	Conversation ConversationID
	Seq          Seq
	Sender       UserID
	From         User
	To           User // of a direct message; else empty
	Room         Room // of a room's message; else empty
	SentAt       time.Time
	ContentType  string // empty: by the body, see ContentTypeOf
	Ref          string // the app's own JSON object; empty if none
	Body         []byte
	Device       string    // the sending client id
	Key          string    // idempotency key; empty if none
	ExpiresAt    time.Time // zero: never
	EditedAt     time.Time // zero: never edited
	RetractedAt  time.Time // zero: not retracted
}

// Destination is where the message goes, as DigestOf takes it.
func (m *Message) Destination() string {
	if m.Room != "" {
		return "room/" + string(m.Room)
	}
	return "inbox/" + string(m.To)
}

// Expired reports whether the message's expiry has passed at now.
func (m *Message) Expired(now time.Time) bool {
	return !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt)
}

// DigestOf is the digest of a message to a destination ("inbox/bob",
// "room/dev"). The expiry is the interval that the sender asked for, in whole
// seconds; zero means none.
func DigestOf(destination, contentType, ref string, expiry uint32, body []byte) Digest {
	h := sha256.New()
	var scratch [8]byte
	// Each part goes in behind its length, so that no two lists of parts
	// make the same bytes.
	part := func(s string) {
		binary.BigEndian.PutUint64(scratch[:], uint64(len(s)))
		h.Write(scratch[:])
		h.Write([]byte(s))
	}
	part(destination)
	part(contentType)
	part(ref)
	binary.BigEndian.PutUint64(scratch[:], uint64(expiry))
	h.Write(scratch[:])
	h.Write(body)
	var sum [sha256.Size]byte
	return Digest(h.Sum(sum[:0])[:16])
}
