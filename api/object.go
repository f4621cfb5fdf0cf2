package api

import (
	"strconv"
	"time"

	"postbox"
)

// object is a JSON object under construction, without reflection.
type object struct {
	buf      []byte
	borrowed bool // buf is of pageBuffers
}

// key begins a member; what is appended to buf next is its value.
func (o *object) key(name string) {
	if len(o.buf) == 0 {
		o.buf = append(o.buf, '{')
	} else if c := o.buf[len(o.buf)-1]; c != '{' {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, name...) // names are ours and need no escaping
	o.buf = append(o.buf, `":`...)
}

func (o *object) text(name, s string) {
	o.key(name)
	o.buf = postbox.AppendString(o.buf, s)
}

func (o *object) number(name string, n int64) {
	o.key(name)
	o.buf = strconv.AppendInt(o.buf, n, 10)
}

func (o *object) flag(name string, is bool) {
	o.key(name)
	o.buf = strconv.AppendBool(o.buf, is)
}

// moment leaves a zero time out.
func (o *object) moment(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	o.key(name)
	o.buf = append(o.buf, '"')
	o.buf = append(postbox.AppendTime(o.buf, t), '"')
}

// list appends an array of items lo to hi.
func (o *object) list(name string, i *items, lo, hi int) {
	o.key(name)
	o.buf = append(o.buf, '[')
	o.buf = append(o.buf, i.slice(lo, hi)...)
	o.buf = append(o.buf, ']')
}

// end closes the object.
func (o *object) end() []byte {
	if len(o.buf) == 0 {
		o.buf = append(o.buf, '{')
	}
	o.buf = append(o.buf, '}')
	return o.buf
}

// items are rendered items of an array, so that as many of them can be taken as
// the caller has room for.
type items struct {
	buf  []byte
	ends []int // of each item in buf
}

// next begins an item; what is appended to buf until done is its text.
func (i *items) next() {
	if len(i.ends) > 0 {
		i.buf = append(i.buf, ',')
	}
}

func (i *items) done() { i.ends = append(i.ends, len(i.buf)) }

func (i *items) len() int { return len(i.ends) }

// begin is where item n begins in buf.
func (i *items) begin(n int) int {
	if n == 0 {
		return 0
	}
	return i.ends[n-1] + 1
}

func (i *items) slice(lo, hi int) []byte {
	if lo >= hi {
		return nil
	}
	return i.buf[i.begin(lo):i.ends[hi-1]]
}

// size is how many bytes items lo to hi take in an array.
func (i *items) size(lo, hi int) int { return len(i.slice(lo, hi)) }
