package proof

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"slices"

	"github.com/google/uuid"
)

// message is one message of PostgreSQL's protocol, with its head.
type message []byte

func (m message) kind() byte   { return m[0] }
func (m message) body() []byte { return m[5:] }

func readMessage(in *bufio.Reader) (message, error) {
	head := make(message, 5)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	m := slices.Grow(head, int(binary.BigEndian.Uint32(head[1:]))-4)[:binary.BigEndian.Uint32(head[1:])+1]
	_, err := io.ReadFull(in, m[5:])
	return m, err
}

// copyStartup passes on the first message of a connection, which has no kind.
func copyStartup(in *bufio.Reader, out io.Writer) error {
	head, err := in.Peek(4)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, int64(binary.BigEndian.Uint32(head)))
	return err
}

func zeroEnded(b []byte) (string, []byte) {
	s, rest, _ := bytes.Cut(b, []byte{0})
	return string(s), rest
}

// messageIDs reads the seventh parameter of postbox.append, a binary array of UUIDs, from
// the parameters of a Bind.
func messageIDs(b []byte) []string {
	formats := int(binary.BigEndian.Uint16(b))
	b = b[2+2*formats+2:]
	for range 6 {
		if n := int32(binary.BigEndian.Uint32(b)); n > 0 {
			b = b[4+n:]
		} else {
			b = b[4:]
		}
	}
	const head, element = 20, 4 + 16 // of one dimension; a length and the UUID
	array := b[4 : 4+binary.BigEndian.Uint32(b)]
	var ids []string
	for i := head; i+element <= len(array); i += element {
		ids = append(ids, uuid.UUID(array[i+4:i+element]).String())
	}
	return ids
}
