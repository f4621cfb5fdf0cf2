package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// recordDecoder reads records as PostgreSQL's record_send writes them: the number
// of fields, and for each its type, its length (-1 for NULL) and its bytes, all
// integers of four bytes in network order. What is wrong is kept in err, and all
// that is read after it is zero.
type recordDecoder struct {
	rest []byte // what it returns is a part of it
	err  error
}

var errRecord = errors.New("a record of the database is not of the form that it should have")

// next reports whether there is another record, and goes to its first field.
func (d *recordDecoder) next() bool {
	if len(d.rest) == 0 || d.err != nil {
		return false
	}
	d.uint32()
	return d.err == nil
}

func (d *recordDecoder) uint32() uint32 {
	if len(d.rest) < 4 {
		d.fail()
		return 0
	}
	n := binary.BigEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return n
}

func (d *recordDecoder) fail() { d.rest, d.err = nil, errRecord }

// bytes is the next field; false: it is NULL.
func (d *recordDecoder) bytes() ([]byte, bool) {
	d.uint32() // its type
	n := int32(d.uint32())
	switch {
	case d.err != nil || n == -1:
		return nil, false
	case n < 0 || int(n) > len(d.rest):
		d.fail()
		return nil, false
	}
	field := d.rest[:n:n]
	d.rest = d.rest[n:]
	return field, true
}

// fixed is a field of so many bytes; false: it is NULL.
func (d *recordDecoder) fixed(size int) ([]byte, bool) {
	field, ok := d.bytes()
	if ok && len(field) != size {
		d.err = fmt.Errorf("%w: %d bytes instead of %d", errRecord, len(field), size)
		return nil, false
	}
	return field, ok
}

// integer is a bigint, zero for NULL.
func (d *recordDecoder) integer() int64 {
	if field, ok := d.fixed(8); ok {
		return int64(binary.BigEndian.Uint64(field))
	}
	return 0
}

func (d *recordDecoder) uuid() (id [16]byte) {
	if field, ok := d.fixed(16); ok {
		copy(id[:], field)
	}
	return id
}

// yearsToUnix is from 1970 to 2000, where PostgreSQL begins to count, in
// microseconds.
const yearsToUnix = 946_684_800 * 1_000_000

// time is a timestamptz, the zero time for NULL.
func (d *recordDecoder) time() time.Time {
	if field, ok := d.fixed(8); ok {
		return time.UnixMicro(int64(binary.BigEndian.Uint64(field)) + yearsToUnix).UTC()
	}
	return time.Time{}
}

// copy is a field of its own memory; nil for NULL.
func (d *recordDecoder) copy() []byte {
	field, _ := d.bytes()
	return bytes.Clone(field)
}

// text is empty for NULL.
func (d *recordDecoder) text() string {
	field, _ := d.bytes()
	return string(field)
}
