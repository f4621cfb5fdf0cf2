package hooks

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// abandonedAfter is how long after its end Mochi has for the clean-up of a
// connection that a listener of Mochi's accepted: longer than its reader goes on,
// and shorter than the next CONNECT of the device waits.
const abandonedAfter = 5 * time.Second

// connOf returns the client's connection, which must be one of ours. Of one
// that a listener of Mochi's has accepted only the output is taken over: its
// greeting is over, and its reader is Mochi's.
func (h *Hook) connOf(cl *mqtt.Client) *Conn {
	conn, ok := cl.Net.Conn.(*Conn)
	if !ok {
		conn = &Conn{Conn: cl.Net.Conn, greeting: greeting{done: true}, ended: make(chan struct{})}
		conn.abandoned = func() {
			time.AfterFunc(abandonedAfter, func() {
				_ = conn.Conn.Close() // a WebSocket of Mochi's knows no deadline
				h.Ended(conn)
			})
		}
		cl.Net.Conn = conn
	}
	return conn
}

// leave is for the first end of a connection.
func (c *Conn) leave() {
	if c.abandoned != nil {
		c.abandoned()
		c.abandoned = nil
	}
}

// finish closes the connection and waits until what is buffered has gone out:
// Mochi's WebSocket listener cuts a connection as soon as its reader returns. It
// must not be called while others wait for the caller.
func (c *Conn) finish() {
	_ = c.Close()
	c.mu.Lock()
	if !c.writing || c.err != nil {
		c.mu.Unlock()
		return
	}
	if c.flushed == nil {
		c.flushed = make(chan struct{})
	}
	flushed := c.flushed
	c.mu.Unlock()
	select {
	case <-flushed:
	case <-time.After(closeTimeout):
	}
}

// OnPacketSent lets a refused CONNECT of a listener of Mochi's have its answer.
func (h *Hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type != packets.Connack || pk.ReasonCode == 0 {
		return
	}
	if conn := h.connOf(cl); !conn.accepted {
		conn.finish()
	}
}
