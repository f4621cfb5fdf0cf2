package broker

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// fuzzPatience bounds what one connection of a fuzzer may take.
const fuzzPatience = 20 * time.Second

// States of a connection when a fuzzer begins to speak.
const (
	fuzzSession   = iota // after CONNECT, with a session
	fuzzDelivery         // with deliveries that are not acknowledged
	fuzzHandshake        // and a QoS 2 publish that is not released
	fuzzTakeover         // and the device's next CONNECT on its way
	fuzzStates
)

// What comes before CONNECT ends the connection, or is answered, and leaves
// nothing behind.
func FuzzBeforeConnect(f *testing.F) {
	for _, b := range connects(f) {
		f.Add(b)
	}
	f.Add([]byte{0x10, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0x10, 0x80, 0x80, 0x80, 0x80, 0x01})
	f.Add([]byte{0xc0, 0})
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := s.dial()
		c.say(t, data)
		c.leave(t)
		s.check(t)
	})
}

// The same in each state of a connection, in every version.
func FuzzConnection(f *testing.F) {
	for version := byte(3); version <= 5; version++ {
		noise := &mqtttest.Noise{T: f, Rand: rand.New(rand.NewPCG(7, uint64(version))), Version: version, User: "eve", Other: "bob"}
		for i := range 32 {
			b, _ := noise.Packet()
			f.Add(byte(i%fuzzStates), version, b)
		}
	}
	f.Add(byte(fuzzDelivery), byte(5), []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}) // panics in Mochi's decoder
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, state, version byte, data []byte) {
		state, version = state%fuzzStates, 3+version%3
		c := s.dial()
		prelude := s.prelude(t, state, version)
		if !c.say(t, prelude) {
			t.Errorf("version %d: ended by % x", version, prelude)
		}
		if state == fuzzTakeover {
			next := s.dial()
			next.write(s.prelude(t, fuzzSession, version))
			c.say(t, data)
			next.say(t, data)
			next.leave(t)
		} else {
			c.say(t, data)
		}
		c.leave(t)
		s.check(t)
	})
}

// connects are CONNECTs of all versions.
func connects(f *testing.F) (all [][]byte) {
	for version := byte(3); version <= 5; version++ {
		noise := &mqtttest.Noise{T: f, Rand: rand.New(rand.NewPCG(7, uint64(version))), Version: version, User: "eve", Other: "bob"}
		for i := range 8 {
			all = append(all, noise.Connect("page", memoryPassword, i%2 == 0))
		}
	}
	return all
}

// fuzzed is the server that one process of a fuzzer talks to. Each input finds
// it as new.
type fuzzed struct{ *MemoryServer }

func newFuzzed(f *testing.F) *fuzzed {
	s := &fuzzed{NewMemoryServer(f, "eve", "bob")}
	f.Cleanup(func() { s.stop(f) })
	return s
}

// prelude is what eve's page says to get into a state.
func (s *fuzzed) prelude(t *testing.T, state, version byte) (b []byte) {
	say := func(pk packets.Packet) {
		pk.ProtocolVersion = version
		b = append(b, mqtttest.Encode(t, pk)...)
	}
	connect := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: "page", Keepalive: 60,
		UsernameFlag: true, Username: []byte("eve"), PasswordFlag: true, Password: []byte(memoryPassword),
	}}
	if version == 3 {
		connect.Connect.ProtocolName = []byte("MQIsdp")
	}
	connect.Properties.SessionExpiryInterval, connect.Properties.SessionExpiryIntervalFlag = 3600, true
	say(connect)
	publish := func(id uint16, qos byte) {
		say(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, PacketID: id, TopicName: "inbox/eve", Payload: []byte("x"),
		})
	}
	if state >= fuzzDelivery {
		say(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1,
			Filters: packets.Subscriptions{{Filter: "inbox/eve", Qos: 1}},
		})
		publish(2, 1)
		publish(3, 1)
	}
	if state >= fuzzHandshake {
		publish(7, 2)
	}
	return b
}

// check looks for what is left of connections that have ended, and begins anew.
func (s *fuzzed) check(t *testing.T) {
	t.Helper()
	left := s.Leftovers()
	for end := time.Now().Add(fuzzPatience); len(left) > 0 && time.Now().Before(end); left = s.Leftovers() {
		time.Sleep(time.Millisecond) // what it published is still being settled
	}
	if len(left) > 0 {
		t.Fatalf("left over: %v", left)
	}
	for _, fault := range s.forget() {
		t.Error(fault)
	}
	for line := range strings.Lines(s.Logged()) {
		if !strings.Contains(line, "SubscribeDecode") { // Mochi's, see docs/mochi.md
			t.Errorf("logged: %.3000s", line)
		}
	}
}

// fuzzedConn is a connection to the server, whose answers are counted.
type fuzzedConn struct {
	near  net.Conn
	pongs chan struct{}
	ended chan struct{} // by the server
	done  chan struct{} // the server has cleaned up
}

func (s *fuzzed) dial() *fuzzedConn {
	near, far := net.Pipe()
	c := &fuzzedConn{near: near, pongs: make(chan struct{}, 1<<16), ended: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		s.door.serve(far, entrance{name: "tcp"}, nil)
	}()
	go func() {
		defer close(c.ended)
		in := bufio.NewReader(near)
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
			if first>>4 == packets.Pingresp {
				c.pongs <- struct{}{}
			}
		}
	}()
	return c
}

// say says something and waits for the server's answer to PINGREQ, or for the
// end; not if what was said has no end itself.
func (c *fuzzedConn) say(t *testing.T, b []byte) (alive bool) {
	t.Helper()
	b = append(bytes.Clone(b), 0xc0, 0)
	c.write(b)
	whole, pings := mqtttest.Framed(b)
	late := time.NewTimer(fuzzPatience)
	defer late.Stop()
	for ; whole && pings > 0; pings-- {
		select {
		case <-c.pongs:
		case <-c.ended:
			return false
		case <-late.C:
			t.Fatalf("neither answered nor ended: % x", b)
		}
	}
	return true
}

// write says something. That it cannot be said any more is the server's right.
func (c *fuzzedConn) write(b []byte) {
	_ = c.near.SetWriteDeadline(time.Now().Add(fuzzPatience))
	_, _ = c.near.Write(b)
}

// leave cuts the connection; the server must be done with it soon.
func (c *fuzzedConn) leave(t *testing.T) {
	t.Helper()
	_ = c.near.Close()
	select {
	case <-c.done:
	case <-time.After(fuzzPatience):
		t.Fatal("the server does not end the connection")
	}
	<-c.ended
}
