package broker_test

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

var pingreq = []byte{0xc0, 0}

// stranger is a connection that reads all the time and says what noise there is.
type stranger struct {
	run   *noisy
	noise *mqtttest.Noise
	rand  *rand.Rand
	net   *net.TCPConn
	pongs chan struct{}
	ended chan struct{}
}

// meet is the life of one connection, or of two that are one device.
func (n *noisy) meet(t *testing.T, r *rand.Rand) {
	noise := &mqtttest.Noise{T: t, Rand: r, Version: byte(3 + r.IntN(3)), User: n.users[r.IntN(len(n.users))], Other: n.other}
	device := "device" + strconv.Itoa(r.IntN(3))
	s := n.stranger(t, noise)
	defer s.leave()
	state := r.IntN(6)
	if state == 0 {
		s.talk(true)
		return
	}
	prelude := noise.Connect(device, password, r.IntN(10) == 0)
	say := func(pk packets.Packet) {
		pk.ProtocolVersion = noise.Version
		prelude = append(prelude, mqtttest.Encode(t, pk)...)
	}
	if state > 1 { // deliveries, unacknowledged
		say(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1,
			Filters: packets.Subscriptions{{Filter: "inbox/" + noise.User, Qos: 1}},
		})
		for id := range uint16(3) {
			say(publication{id: id + 2, qos: 1, topic: "inbox/" + noise.User, body: "x"}.packet())
		}
	}
	if state > 2 { // inside the handshake of QoS 2
		say(publication{id: 7, qos: 2, topic: "inbox/" + noise.User, body: "y"}.packet())
	}
	alive := s.ask(prelude)
	if alive && state == 5 { // while it is taken over
		second := n.stranger(t, noise)
		defer second.leave()
		second.write(noise.Connect(device, password, false))
		s.talk(false)
		second.talk(false)
		return
	}
	if alive {
		s.talk(false)
	}
}

func (n *noisy) stranger(t *testing.T, noise *mqtttest.Noise) *stranger {
	n.conns.Add(1)
	conn, err := net.DialTimeout("tcp", n.address, patience)
	if err != nil {
		t.Error(err)
		return nil
	}
	s := &stranger{run: n, noise: noise, rand: noise.Rand, net: conn.(*net.TCPConn), pongs: make(chan struct{}, 64), ended: make(chan struct{})}
	go s.listen()
	return s
}

// listen reads to the end. Whatever the server says, it says in whole packets.
func (s *stranger) listen() {
	defer close(s.ended)
	in := bufio.NewReader(s.net)
	for {
		first, err := in.ReadByte()
		if err != nil {
			return
		}
		length, _, err := packets.DecodeLength(in)
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, in, int64(length)); err != nil {
			return
		}
		switch first >> 4 {
		case packets.Pingresp:
			s.pongs <- struct{}{}
		case packets.Connect, packets.Subscribe, packets.Unsubscribe, packets.Pingreq, packets.Reserved:
			s.noise.T.Errorf("the server sent a packet of type %d", first>>4)
		}
	}
}

// talk says noise until the connection ends, or for a while.
func (s *stranger) talk(before bool) {
	for range 1 + s.rand.IntN(40) {
		var batch []byte
		var whole bool
		var changed, first int64 // of the batch; 1 if its first packet is, which is read whatever comes of it
		for range 1 + s.rand.IntN(6) {
			b, odd := s.noise.Packet()
			if before {
				b, odd = s.noise.Change(s.noise.Connect("device", password, s.rand.IntN(2) == 0)), true
			}
			before = false
			if odd {
				changed++
				if len(batch) == 0 {
					first = 1
				}
			}
			batch = append(batch, b...)
			s.run.sent.Add(1)
			if whole, _ = mqtttest.Framed(batch); !whole {
				break
			}
		}
		switch {
		case !whole:
			// The server waits for more, or has had enough.
			s.write(batch)
			s.run.read.Add(first)
			return
		case !s.ask(batch):
			s.run.read.Add(first)
			return
		}
		s.run.read.Add(changed)
	}
}

// ask says something, and PINGREQ: the server answers that, or has ended the
// connection.
func (s *stranger) ask(b []byte) (alive bool) {
	b = append(b, pingreq...)
	s.write(b)
	late := time.NewTimer(patience)
	defer late.Stop()
	for _, pings := mqtttest.Framed(b); pings > 0; pings-- {
		select {
		case <-s.pongs:
		case <-s.ended:
			return false
		case <-late.C:
			s.run.orphans.Add(1)
			s.noise.T.Errorf("version %d: neither answered nor ended after % x", s.noise.Version, b[:min(len(b), 400)])
			return false
		}
	}
	return true
}

// write says something, in two pieces at times. That it cannot be said any
// more is the server's right.
func (s *stranger) write(b []byte) {
	_ = s.net.SetWriteDeadline(time.Now().Add(patience))
	if s.rand.IntN(4) == 0 {
		at := s.rand.IntN(len(b) + 1)
		_, _ = s.net.Write(b[:at])
		b = b[at:]
	}
	_, _ = s.net.Write(b)
}

// leave ends the connection in one of the ways there are, and waits for that.
func (s *stranger) leave() {
	switch s.rand.IntN(3) {
	case 0:
		s.write([]byte{0xe0, 0})
		_ = s.net.CloseWrite()
	case 1:
		_ = s.net.CloseWrite()
	default:
		_ = s.net.SetLinger(0)
		_ = s.net.Close()
	}
	late := time.AfterFunc(patience, func() {
		s.run.orphans.Add(1)
		_ = s.net.Close()
	})
	<-s.ended
	late.Stop()
	_ = s.net.SetLinger(0)
	_ = s.net.Close()
}
