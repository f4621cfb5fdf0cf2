package bench

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// readBuffer is the most that one read takes, in bytes, and so the largest
// packet.
const readBuffer = 512 << 10

// errClosed says that the broker ended a connection.
var errClosed = errors.New("the broker closed the connection")

// handler is the sender or device at this end of a connection.
type handler interface {
	// packet takes one packet that came; body is valid until it returns.
	packet(header byte, body []byte, now int64) error
	// batchEnd comes after the last packet of one read.
	batchEnd(now int64) error
}

// conn is one connection in the event loop. All of it belongs to the loop.
type conn struct {
	handler
	identity
	fd     int
	poller *poller

	// rest is the beginning of a packet that is not whole yet.
	rest []byte
	// out waits to be written; blocked is set while the socket takes no more.
	out     []byte
	blocked bool
	// idleSince is when something was last written.
	idleSince int64
}

// receive reads once and hands the packets on. The buffer is shared by all
// connections.
func (c *conn) receive(buffer []byte, clock func() int64) error {
	kept := copy(buffer, c.rest)
	n, err := unix.Read(c.fd, buffer[kept:])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil // the poller tells again
	case n == 0 || errors.Is(err, unix.ECONNRESET):
		return c.failed("read", errClosed)
	case err != nil:
		return c.failed("read", err)
	}
	return c.feed(buffer[:kept+n], len(buffer), clock())
}

// feed hands on the whole packets in data and keeps the rest.
func (c *conn) feed(data []byte, limit int, now int64) error {
	for {
		header, body, size, err := splitPacket(data)
		if err != nil {
			return c.failed("read", err)
		}
		if size == 0 {
			break
		}
		if err := c.packet(header, body, now); err != nil {
			return c.failed("handle packet", err)
		}
		data = data[size:]
	}
	if len(data) == limit {
		return c.failed("read", fmt.Errorf("packet of more than %d bytes", limit))
	}
	c.rest = append(c.rest[:0], data...)
	if err := c.batchEnd(now); err != nil {
		return c.failed("write", err)
	}
	return nil
}

// flush writes what waits, as much as the socket takes.
func (c *conn) flush(now int64) error {
	if len(c.out) == 0 || c.blocked {
		return nil
	}
	c.idleSince = now
	n, err := unix.Write(c.fd, c.out)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		n = 0
	case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET):
		return errClosed
	case err != nil:
		return err
	}
	if n == len(c.out) {
		c.out = c.out[:0]
		return nil
	}
	c.out = c.out[:copy(c.out, c.out[n:])]
	c.blocked = true
	return c.poller.watch(c.fd, true)
}

// writable goes on with what could not be written before.
func (c *conn) writable(now int64) error {
	c.blocked = false
	if err := c.flush(now); err != nil {
		return c.failed("write", err)
	}
	if c.blocked {
		return nil
	}
	return c.poller.watch(c.fd, false)
}

// ping keeps a connection alive that has nothing to say.
func (c *conn) ping(now int64) error {
	if now-c.idleSince < keepAlive/2*1e9 {
		return nil
	}
	c.out = append(c.out, typePingreq, 0)
	return c.flush(now)
}

// close says goodbye and lets the connection go.
func (c *conn) close() {
	if !c.blocked {
		_, _ = unix.Write(c.fd, []byte{typeDisconnect, 0}) // a courtesy: the run is over
	}
	_ = unix.Close(c.fd)
}

// failed names the connection in an error.
func (c *conn) failed(what string, err error) error {
	return fmt.Errorf("%s (%s): %s: %w", c.clientID, c.user, what, err)
}

// unexpected is the error for a packet that has no business here.
func unexpected(header byte, body []byte) error {
	if header&typeMask == typeDisconnect && len(body) > 0 {
		return fmt.Errorf("the broker disconnected with reason 0x%02X", body[0])
	}
	return fmt.Errorf("unexpected packet 0x%02X", header)
}
