package hooks

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Bounds of a connection's output.
const (
	maxBuffered  = 8 << 20   // bytes; more and the connection is cut
	readyBelow   = 256 << 10 // bytes; deliveries pause above
	scarceBelow  = 16 << 10  // bytes; the same while all connections together have a lot
	pieceSize    = 64 << 10  // bytes of one write
	keepBuffer   = 16 << 10  // bytes; larger buffers are not used again
	writeTimeout = 10 * time.Second
	closeTimeout = 2 * time.Second
)

// unsentBudget is how many bytes all connections together may have to write
// before each gets little more: many devices that do not read must not cost
// much memory.
const unsentBudget = 4 << 20

// unsent is how many bytes all connections have to write.
var unsent atomic.Int64

// Errors that end a connection.
var (
	ErrOverflow     = errors.New("the peer does not read: output over its bound")
	ErrNotConnect   = errors.New("the first packet is not CONNECT")
	ErrConnectLarge = errors.New("the CONNECT packet is over its limit")
)

// Conn is a connection whose writes never block: they go to a bounded buffer,
// which is emptied in few system calls by one of the writers, or by a goroutine that
// exists only while there is something to write. Mochi holds a client's lock while it writes; with a Conn
// a peer that stops reading holds up nobody. Whoever overflows it is cut, and
// catches up from the database when it returns.
//
// Until its CONNECT has been read it enforces a deadline and a size. All
// methods may be called from any goroutine, Read from one.
type Conn struct {
	net.Conn
	greeting greeting               // the reader's
	framing  framing                // the reader's, once the CONNECT has been read
	wrong    byte                   // the reason for which reading ends; the reader's
	last     byte                   // that was read; the reader's
	offered  *packets.ConnectParams // the CONNECT as it was sent; the reader's
	level    byte                   // the CONNECT's protocol version
	// accepted is true for a connection of a listener that calls Hook.Ended;
	// of another, abandoned is called once when it is closed.
	accepted  bool
	abandoned func()
	judged    bool // OnConnect has refused it; the reader's
	client    atomic.Pointer[client]
	ended     chan struct{} // closed by Hook.Ended
	ending    atomic.Bool   // Ended was called

	certificate *Certificate    // the reader's
	raw         syscall.RawConn // of a TCP connection with nothing in between; else nil
	piece       int             // bytes of one write

	mu       sync.Mutex    // guards the fields below
	output   *output       // nil: nothing is buffered
	unsent   int           // bytes that are buffered or being written
	writing  bool          // somebody writes, or will
	flushed  chan struct{} // somebody waits for the end of writing
	closing  bool
	cut      string    // why the server ends it; empty: it does not
	closeBy  time.Time // when closing: then it is cut
	err      error
	wanted   bool   // somebody waits for drained
	drained  func() // called, outside the lock, when output is low again
	deadline time.Time
	// farewell is the reason that Close tells the client, if nobody has told it
	// one; zero: none.
	farewell byte
	// silence is how long the peer may be silent; zero: as Mochi says.
	silence time.Duration
}

// Greeting bounds what a connection may do before its CONNECT has been read, and
// the packets after it.
type Greeting struct {
	Timeout time.Duration
	Limit   int // bytes of the CONNECT packet, without its header
	Packet  int // bytes of any later packet; zero: they are not looked at
	// Piece is how many bytes go out in one write; zero: 64 KiB. Less where a
	// write that did not end in time ends the connection, as it does with TLS.
	Piece int
	// Done is called when the whole of a CONNECT packet has been read.
	Done func()
}

// NewConn wraps c.
func NewConn(c net.Conn, g Greeting) *Conn {
	_ = c.SetReadDeadline(time.Now().Add(g.Timeout))
	return &Conn{
		Conn: c, raw: rawOf(c), accepted: true, ended: make(chan struct{}), piece: g.Piece,
		greeting: greeting{limit: g.Limit, then: g.Done}, framing: framing{limit: g.Packet},
	}
}

// Certify says whose certificate the connection has shown. Call it before Mochi
// reads from the connection.
func (c *Conn) Certify(by *Certificate) {
	c.certificate = by
}

// Read checks the header of the first packet on its way to Mochi, which would
// allocate whatever length it claims, and those of the later ones.
func (c *Conn) Read(p []byte) (int, error) {
	if c.wrong != 0 {
		return 0, c.malformed()
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		c.partWith(0) // it is the peer that has ended it, or is silent
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.cutFor(c.lateness())
	}
	if n == 0 {
		return n, err
	}
	c.last = p[n-1]
	if !c.greeting.done {
		after, bad := c.greeting.check(p[:n])
		if bad != nil {
			c.cutFor(greetingFault(bad))
			return 0, bad
		}
		good, wrong := c.framing.check(p[after:n])
		return c.readUpTo(after+good, wrong, err)
	}
	good, wrong := c.framing.check(p[:n])
	return c.readUpTo(good, wrong, err)
}

// readUpTo returns the good bytes of a read; what is wrong comes after them, when
// they have been dealt with.
func (c *Conn) readUpTo(n int, wrong byte, err error) (int, error) {
	switch c.wrong = wrong; {
	case wrong == 0:
		return n, err
	case n > 0:
		return n, nil
	}
	return 0, c.malformed()
}

// malformed ends the reading for what is wrong.
func (c *Conn) malformed() error {
	c.cutFor(cutProtocol)
	c.partWith(c.wrong)
	return ErrFraming
}

// partWith sets the reason that Close tells an MQTT 5 client.
func (c *Conn) partWith(reason byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.farewell != 0 {
		c.farewell = reason
	}
}

// expectFarewell makes Close tell the client a reason from now on: that its
// packet was malformed, unless partWith says otherwise.
func (c *Conn) expectFarewell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.farewell = packets.ErrMalformedPacket.Code
}

// Write buffers p and lets it go out. It fails only when the connection has.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.append(p); err != nil {
		return 0, err
	}
	c.kick()
	return len(p), nil
}

// Append buffers whole packets without letting them go out before Kick or the
// next Write. A failed connection swallows them.
func (c *Conn) Append(parts ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range parts {
		if c.append(p) != nil {
			return
		}
	}
}

// Kick lets what is buffered go out.
func (c *Conn) Kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.output != nil {
		c.kick()
	}
}

// Ready reports whether there is little enough to write that deliveries may be
// added. When it says no, the function given to OnDrained is called once there
// is.
func (c *Conn) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.closing {
		return false
	}
	if c.unsent < readyBelow && (c.unsent < scarceBelow || unsent.Load() < unsentBudget) {
		return true
	}
	c.wanted = true
	return false
}

// OnDrained sets what is called when output is low after Ready said no.
func (c *Conn) OnDrained(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = f
}

func (c *Conn) append(p []byte) error {
	if c.err != nil {
		return c.err
	}
	if c.closing {
		return net.ErrClosed
	}
	if c.unsent+len(p) > maxBuffered {
		c.cutLocked(cutOverflow)
		c.fail(ErrOverflow)
		return c.err
	}
	if c.output == nil {
		c.output = outputs.Get().(*output)
	}
	c.output.bytes = append(c.output.bytes, p...)
	c.count(len(p))
	return nil
}

// count notes that there are n bytes more to write, or fewer.
func (c *Conn) count(n int) {
	c.unsent += n
	unsent.Add(int64(n))
}

func (c *Conn) kick() {
	if c.writing {
		return
	}
	c.writing = true
	if c.raw != nil {
		shared.add(c)
		return
	}
	go c.flush(nil, nil)
}

// flush writes until nothing is buffered, what is left of an earlier write first. An
// attempt is for one of the writers, who waits for no peer: what does not go out at
// once goes on in a goroutine of its own, and what has come meanwhile has its turn
// behind other connections.
func (c *Conn) flush(out *output, a *attempt) {
	c.mu.Lock()
	for {
		for (out != nil || c.output != nil) && c.err == nil {
			if out == nil {
				out, c.output = c.output, nil
			}
			c.mu.Unlock()
			n, err := c.writeOut(out.rest(), a)
			c.mu.Lock()
			switch {
			case c.err != nil: // all of it was counted off
			case err != nil:
				if !c.closing {
					c.cutLocked(cutWrite)
				}
				c.fail(err)
			default:
				c.count(-n)
				c.countSent(n)
			}
			if out.sent += n; len(out.rest()) > 0 && c.err == nil {
				go c.flush(out, nil)
				c.mu.Unlock()
				return
			}
			out.free()
			out = nil
			if a != nil && c.output != nil && c.err == nil {
				shared.add(c)
				c.mu.Unlock()
				return
			}
		}
		drained := c.drained
		if !c.wanted || drained == nil || c.err != nil || c.closing {
			break
		}
		c.wanted = false
		c.mu.Unlock()
		drained()
		c.mu.Lock()
	}
	c.writing = false
	if c.flushed != nil {
		close(c.flushed)
		c.flushed = nil
	}
	if c.closing {
		c.hangUp()
	}
	c.mu.Unlock()
}

// writeOut writes all of it, unless it is an attempt: then what the peer takes of the
// first piece.
func (c *Conn) writeOut(out []byte, a *attempt) (int, error) {
	piece := c.piece
	if piece == 0 {
		piece = pieceSize
	}
	if a != nil {
		return a.write(c.raw, out[:min(len(out), piece)])
	}
	for rest := out; len(rest) > 0; {
		c.beginPiece(writeTimeout)
		n, err := c.Conn.Write(rest[:min(len(rest), piece)])
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.Closed()) {
			return 0, err
		}
		rest = rest[n:]
	}
	c.beginPiece(0) // for attempts, and what a WebSocket answers by itself
	return len(out), nil
}

// hangUp closes the connection beneath. A WebSocket may take its time to say
// good-bye, and others wait for the lock.
func (c *Conn) hangUp() { go func() { _ = c.Conn.Close() }() }

// beginPiece sets how long the next piece may take, from now on; zero: as long as it
// likes. It does so under the lock: the deadline of a Close that comes meanwhile is
// the one that stands.
func (c *Conn) beginPiece(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.closeBy
	if !c.closing {
		by = time.Time{}
		if timeout > 0 {
			by = time.Now().Add(timeout)
		}
	}
	_ = c.Conn.SetWriteDeadline(by)
}

// fail cuts the connection. The reader notices and cleans up.
func (c *Conn) fail(err error) {
	c.err = err
	c.output = nil
	c.count(-c.unsent)
	c.leave()
	c.hangUp()
}

// Close lets what is buffered go out, for two seconds at most, without waiting
// for it, and then ends the reader.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.err != nil {
		return nil
	}
	if c.farewell != 0 {
		if c.append([]byte{typeDisconnect, 2, c.farewell, 0}) != nil {
			return nil
		}
	}
	c.closing = true
	c.leave()
	if !c.writing && c.output == nil {
		c.hangUp()
		return nil
	}
	c.closeBy = time.Now().Add(closeTimeout)
	_ = c.Conn.SetWriteDeadline(c.closeBy)
	c.kick()
	return nil
}

// host is the address of the peer, without its port.
func (c *Conn) host() string {
	addr := c.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// End is Close, with a reason for an MQTT 5 client that nobody has told one.
func (c *Conn) End(reason byte) error {
	c.partWith(reason)
	return c.Close()
}

// Closed reports whether the connection has failed or is being closed.
func (c *Conn) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing || c.err != nil
}

// SetKeepAlive sets how long the peer may be silent: one and a half times d
// [MQTT-3.1.2-22], to which Mochi comes in whole seconds only.
func (c *Conn) SetKeepAlive(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence = d + d/2
}

// SetDeadline sets the deadline of reads only: writes have their own. Mochi
// calls it before every packet; a change of less than a quarter of a second is
// not worth the runtime's timer, so that much is given more.
func (c *Conn) SetDeadline(t time.Time) error {
	const step = 250 * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil
	}
	if c.silence > 0 {
		t = time.Now().Add(c.silence)
		if !c.deadline.Before(t) && c.deadline.Sub(t) <= step {
			return nil
		}
		t = t.Add(step)
	}
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}
