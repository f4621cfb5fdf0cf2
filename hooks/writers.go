package hooks

import (
	"net"
	"runtime"
	"sync"
	"syscall"
)

// writers are goroutines that write for many connections, one after the other: with
// one for each write, starting it and waking a processor for it costs a good part of
// what the write does. They are there only while there is something to write. None
// waits for a peer. Methods may be called from any goroutine.
type writers struct {
	most int // at a time

	mu      sync.Mutex // guards the fields below; may be taken under a Conn's
	queue   []*Conn
	head    int // of queue: those before have been written for
	running int
}

// shared are those of this process. Half of the processors are left to those who
// have something to write.
var shared = &writers{most: max(1, runtime.GOMAXPROCS(0)/2)}

// add has a connection written for.
func (w *writers) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == cap(w.queue) && w.head > 0 { // there is room at the front
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	w.queue = append(w.queue, c)
	if w.running < w.most {
		w.running++
		go w.run()
	}
}

func (w *writers) run() {
	a := newAttempt()
	for c := w.next(); c != nil; c = w.next() {
		c.flush(nil, a)
	}
}

// next is the connection whose turn it is; nil: there is none, and who asks has ended.
func (w *writers) next() *Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == len(w.queue) {
		w.running--
		w.queue, w.head = w.queue[:0], 0
		return nil
	}
	c := w.queue[w.head]
	w.queue[w.head] = nil
	w.head++
	return c
}

// attempt writes to sockets what they take at once.
type attempt struct {
	once func(fd uintptr) bool
	p    []byte
	n    int
	err  error
}

func newAttempt() *attempt {
	a := new(attempt)
	a.once = func(fd uintptr) bool {
		a.n, a.err = writeOnce(fd, a.p)
		return true // whatever came of it: no waiting
	}
	return a
}

// write returns how many bytes went out: with no error it may be fewer, also none.
func (a *attempt) write(raw syscall.RawConn, p []byte) (int, error) {
	a.p, a.n, a.err = p, 0, nil
	err := raw.Write(a.once)
	a.p = nil
	if err == nil {
		err = a.err
	}
	return a.n, err
}

// output is what is buffered for a peer. A connection has one only while there is
// something in it.
type output struct {
	bytes []byte
	sent  int // of them
}

// outputs are those that nobody has.
var outputs = sync.Pool{New: func() any { return new(output) }}

func (o *output) rest() []byte { return o.bytes[o.sent:] }

// free lets another connection have it, unless it has become large.
func (o *output) free() {
	if cap(o.bytes) > keepBuffer {
		return
	}
	o.bytes, o.sent = o.bytes[:0], 0
	outputs.Put(o)
}

// rawOf is the socket of a TCP connection, if c is nothing else, and the system can
// write to it without waiting.
func rawOf(c net.Conn) syscall.RawConn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || !writesOnce {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil // it is closed: writing will say so
	}
	return raw
}
