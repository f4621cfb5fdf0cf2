package model

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// connect connects the device, in place of the connection it may have, and
// tries until it succeeds or the run is over. What was unanswered is sent
// again. w.mu is held, but not while it waits.
func (d *device) connect(l login, r *rand.Rand) bool {
	w, old := d.w, d.conn
	if old != nil && !old.over && !old.taken {
		w.count("disconnects")
		old.taken = true
	}
	heard := false // an earlier try may have been
	for limit := time.Now().Add(patience); ; {
		life, troubles := w.life, w.troubles
		asked, least := time.Now(), d.pos.lo
		pk := d.connectPacket(l)
		w.mu.Unlock()
		link, ack, err := w.greet(pk)
		if err != nil || ack.ReasonCode != 0 {
			w.pause(20 * time.Millisecond)
		}
		w.mu.Lock()
		switch {
		case w.ctx.Err() != nil:
			if link != nil {
				link.cut()
			}
			return false
		case err == nil && ack.ReasonCode == 0:
			c := &conn{
				d: d, w: w, link: link, life: life, troubles: troubles, began: asked, least: least, present: ack.SessionPresent,
				acks: l.acks, window: d.windowOf(l), since: -1, asks: make(map[uint16]*request), last: make(map[string]int),
				autoRelease: r.IntN(4) > 0 || w.settling,
			}
			return d.connected(c, l, heard, r)
		case err == nil && ack.ReasonCode != packets.ErrServerUnavailable.Code && ack.ReasonCode != packets.Err3ServerUnavailable.Code:
			w.fail("connect refused", "%v: CONNACK %#x %s", d, ack.ReasonCode, ack.Properties.ReasonString)
			return false
		case time.Now().After(limit):
			w.fail("standstill", "%v could not connect for %v: %v %#x", d, patience, err, ack.ReasonCode)
			return false
		}
		heard = true
	}
}

// greet connects and reads the CONNACK.
func (w *world) greet(pk packets.Packet) (*link, packets.Packet, error) {
	l, err := dial(w.t, w.address, pk.ProtocolVersion)
	if err != nil {
		return nil, packets.Packet{}, err
	}
	if err := l.write(pk); err != nil {
		l.cut()
		return nil, packets.Packet{}, err
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(patience))
	ack, err := l.read()
	if err == nil && ack.FixedHeader.Type != packets.Connack {
		err = fmt.Errorf("a packet of type %d before CONNACK", ack.FixedHeader.Type)
	}
	if err != nil || ack.ReasonCode != 0 {
		l.cut()
		return nil, ack, err
	}
	_ = l.conn.SetReadDeadline(time.Time{})
	return l, ack, nil
}

// connected takes the CONNACK of a new connection.
func (d *device) connected(c *conn, l login, heard bool, r *rand.Rand) bool {
	w := d.w
	if old := d.conn; old != nil && !old.over {
		if old.frozen {
			old.discard = true
			old.cut()
			w.tell()
		}
		if !w.until(fmt.Sprintf("the end of the connection of %v that was taken over", d), func() bool { return old.over }) {
			c.cut()
			return false
		}
	}
	d.judgeSession(c, l, heard)
	w.note("%v connected: life %d, clean %v, expiry %v, window %d, present %v, position %+v", d, c.life, l.clean, l.life, c.window, c.present, d.pos)
	w.count("connects")
	d.conn = c
	w.readers.Go(c.readLoop)
	d.sendPending(c, r)
	switch {
	case c.inst != nil && c.inst.maybe:
		c.unsubscribe()
		c.subscribeBy(r)
	case c.inst == nil && r.IntN(10) < 8 && !w.settling:
		c.subscribeBy(r)
	}
	return d.online()
}

// judgeSession compares "session present" with what must be, and notes what
// the session is from now on.
func (d *device) judgeSession(c *conn, l login, heard bool) {
	w, s := d.w, &d.session
	quiet := s.lived == w.life && s.troubled == w.troubles && !w.shaken()
	wrong := ""
	if quiet {
		s.least = s.life
	}
	switch {
	case l.clean && c.present:
		wrong = "a clean start resumed a session"
	case s.exists == no && c.present && !heard:
		wrong = "there was no session, and it is present"
	case s.exists == yes && !l.clean && !c.present && s.least >= longLife && (l.life >= longLife || !heard):
		wrong = "the session is lost"
	case s.exists == yes && !l.clean && c.present && s.life == 0 && quiet && !heard:
		wrong = "the session ended with its connection, and it is present"
	}
	if wrong != "" {
		w.fail("session", "%v: %s", d, wrong)
	}
	if !c.present {
		s.number++
		s.fresh, s.sub, s.subKnown = yes, nil, true
		d.pos.replace(0, time.Time{})
	}
	if c.present && heard && s.least < longLife {
		// It may be another session than the last one, made by an earlier try.
		s.number++
		s.subKnown = false
		if s.fresh == no {
			s.fresh = maybe
		}
		d.pos.widen(0, time.Now())
	}
	s.exists, s.life, s.least, s.lived, s.troubled = no, l.life, l.life, c.life, c.troubles
	if c.present || l.life > 0 {
		s.exists, c.session = yes, s.number
	}
	if c.present && (s.sub != nil || !s.subKnown) {
		c.inst = &instance{resumed: true, maybe: !s.subKnown, asked: c.began, least: min(c.least, d.pos.lo), granted: time.Now()}
		if s.sub != nil {
			c.inst.opts = *s.sub
		}
		c.inst.affect(&d.pos)
	}
}
