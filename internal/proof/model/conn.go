package model

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// conn is one connection of a device.
type conn struct {
	*link
	d              *device
	w              *world
	life, troubles int // of the world when it connected
	session        int // number of its session; 0: none
	present        bool
	began          time.Time // CONNECT was sent
	least          int64     // what the server knew then to be acknowledged
	acks           ackPolicy
	window         int
	autoRelease    bool

	inst  *instance           // its subscription to the inbox; nil: none
	asks  map[uint16]*request // SUBSCRIBE and UNSUBSCRIBE on their way
	since int64               // named by a control filter, not used yet; -1: none
	left  bool                // it has unsubscribed, and goes on from there
	pings []mark

	due    []due          // answers that must come, in this order
	comps  []*publish     // PUBREL sent, in this order
	quiet  []*publish     // at QoS 0 since the last due
	silent []*publish     // at QoS 0 that may be refused
	sent   int            // publishes, re-sends included
	last   map[string]int // by destination: place of the last publish that is stored
	errors []envelope     // that came before the answer they belong to

	frozen  bool // what comes is not looked at
	discard bool // nor will it ever be
	closing bool // the device ends it
	leaving bool // with DISCONNECT
	taken   bool // the device connects anew
	over    bool
	reason  byte // of the server's DISCONNECT
}

// due is an answer that must come: PUBACK or PUBREC.
type due struct {
	*publish
	quiet []*publish // sent before it at QoS 0: stored once it is
}

// mark is what the server knows once it answers a PINGREQ.
type mark struct {
	sure       int64
	generation int
}

// readLoop handles what the server sends until the connection ends.
func (c *conn) readLoop() {
	w := c.w
	for {
		pk, err := c.read()
		w.mu.Lock()
		for c.frozen && !c.discard && w.ctx.Err() == nil {
			changed := w.changed
			w.mu.Unlock()
			select {
			case <-changed:
			case <-w.ctx.Done():
			}
			w.mu.Lock()
		}
		if err != nil || c.discard {
			c.finish(err)
			w.tell()
			w.mu.Unlock()
			return
		}
		c.handle(pk)
		w.tell()
		w.mu.Unlock()
	}
}

func (c *conn) handle(pk packets.Packet) {
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Pubrec:
		c.answered(pk)
	case packets.Pubcomp:
		c.completed(pk)
	case packets.Publish:
		c.delivered(pk)
	case packets.Suback, packets.Unsuback:
		c.granted(pk)
	case packets.Pingresp:
		if m := c.pings[0]; m.generation == c.d.pos.generation && c.life == c.w.life {
			c.d.pos.raise(m.sure)
			c.w.note("%v: the server knows that all up to %d is acknowledged", c.d, m.sure)
		}
		c.pings = c.pings[1:]
	case packets.Disconnect:
		c.reason = pk.ReasonCode
	}
}

// finish draws the conclusions from the end of the connection.
func (c *conn) finish(err error) {
	d, w := c.d, c.w
	c.over = true
	c.cut()
	alive := c.life == w.life && c.troubles == w.troubles
	if c.life != w.life {
		d.pos.killed()
	}
	if c.leaving && alive && c.inst != nil {
		d.pos.raise(c.inst.sure())
	}
	for _, a := range c.asks {
		c.unheard(a)
	}
	for _, q := range c.due {
		q.waiting = 0
	}
	if c.inst != nil {
		d.keepStale(c.inst)
	}
	w.note("%v ended: life %d, reason %#x, %v, position %+v", d, c.life, c.reason, err, d.pos)
	if alive && !c.closing && !c.taken && w.ctx.Err() == nil && !w.shaken() {
		w.fail("connection ended", "%v was ended by the server, reason %#x: %v", d, c.reason, err)
	}
}

// put writes packets. A connection that is gone shows it to its reader.
func (c *conn) put(all ...packets.Packet) {
	if len(all) > 0 {
		_ = c.write(all...)
	}
}

func (c *conn) ping() {
	m := mark{sure: -1, generation: c.d.pos.generation}
	if c.inst != nil {
		m.sure = c.inst.sure()
	}
	c.pings = append(c.pings, m)
	c.w.note("%v pings, all up to %d is acknowledged", c.d, m.sure)
	c.put(packet(packets.Pingreq, 0))
}

// freeze stops looking at what comes: it may be lost.
func (c *conn) freeze() {
	c.w.note("%v reads no more", c.d)
	c.frozen = true
}

// thaw looks at it after all.
func (c *conn) thaw() {
	c.w.note("%v reads on", c.d)
	c.frozen = false
	c.w.tell()
}

// breakOff ends the connection without a word. What has come and was not looked
// at is lost.
func (c *conn) breakOff() {
	c.w.count("disconnects")
	c.w.note("%v cut", c.d)
	c.closing, c.discard = true, true
	c.cut()
	c.w.tell()
	c.ended()
}

// leave sends DISCONNECT and waits for the end.
func (c *conn) leave(r *rand.Rand) {
	d := c.d
	if c.frozen {
		c.breakOff()
		return
	}
	c.w.count("disconnects")
	c.closing, c.leaving = true, true
	pk := packet(packets.Disconnect, 0)
	if d.version == 5 && d.session.life > 0 && r.IntN(5) == 0 {
		d.session.life = []time.Duration{0, 2 * time.Second, longLife}[r.IntN(3)]
		d.session.least = min(d.session.least, d.session.life)
		pk.Properties.SessionExpiryInterval = uint32(d.session.life / time.Second)
		pk.Properties.SessionExpiryIntervalFlag = true
	}
	c.w.note("%v leaves, session expiry %v", d, d.session.life)
	c.put(pk)
	c.ended()
}

func (c *conn) ended() {
	c.w.until(fmt.Sprintf("the end of a connection of %v", c.d), func() bool { return c.over })
}
