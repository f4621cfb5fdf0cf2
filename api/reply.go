package api

import "sync"

// Reply is the answer to a request.
type Reply struct {
	JSON []byte // an object
	// Created is true when the request made something new.
	Created bool

	borrowed bool // JSON is of pageBuffers
}

// maxPageBuffer is the largest buffer that is kept for a later reply, in bytes.
const maxPageBuffer = 256 << 10

// pageBuffers are those of replies that were sent: a page is large, and to
// allocate it anew each time has the garbage collector run all the time.
var pageBuffers sync.Pool // of *[]byte

// pageBuffer is an empty buffer that has room for size bytes.
func pageBuffer(size int) []byte {
	if b, ok := pageBuffers.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:0]
	}
	return make([]byte, 0, size)
}

// Release says that JSON was sent and that nobody reads it any more: if it is a
// page, its memory is used for another. It need not be called, and not twice.
func (r *Reply) Release() {
	if b := r.JSON; r.borrowed && cap(b) <= maxPageBuffer {
		pageBuffers.Put(&b)
	}
	r.JSON = nil
}
