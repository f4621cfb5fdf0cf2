//go:build linux

package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// fault is what a fakeBroker does to a message or its acknowledgement.
type fault int

const (
	lose fault = iota + 1
	repeat
	swap // deliver after the next one
	misroute
	cut      // a byte of the padding is wrong
	mangle   // the stamp is unreadable
	stayMute // delivered, never acknowledged
	refuse   // MQTT 5: answered with 0x97, not delivered
	ackTwice
	hangUp // the sender's connection is closed
	replayOther
	repeatLate // again when nothing else is on its way any more
	dawdle     // the acknowledgement, and all after it, come late
)

// late is by how much: less than the time that a run waits for silence.
const late = 200 * time.Millisecond

// fakeBroker is a broker on the wire that does one thing wrong to one message
// of the first sender, and everything else right.
type fakeBroker struct {
	listener net.Listener
	protocol Protocol
	fault    fault
	// at is the counter of the message that is wronged.
	at uint32
	// envelope wraps deliveries in JSON.
	envelope bool
	// connack is put behind the two bytes of a CONNACK.
	connack []byte

	group sync.WaitGroup
	mu    sync.Mutex // guards what follows, and writes to devices
	open  map[net.Conn]bool
	byTop map[string][]*fakeDevice
	held  map[string][]byte
	users map[string]string
}

type fakeDevice struct {
	conn net.Conn
	id   uint16
	acks int
}

// startFake starts b on a free port and ends it with the test.
func startFake(t *testing.T, b *fakeBroker) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.listener = listener
	b.open, b.byTop = map[net.Conn]bool{}, map[string][]*fakeDevice{}
	b.held, b.users = map[string][]byte{}, map[string]string{}
	b.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.open[conn] = true
			b.mu.Unlock()
			b.group.Go(func() { b.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		b.mu.Lock()
		for conn := range b.open {
			conn.Close()
		}
		b.mu.Unlock()
		b.group.Wait()
	})
	return listener.Addr().String()
}

func (b *fakeBroker) serve(conn net.Conn) {
	defer conn.Close()
	var device *fakeDevice
	for {
		header, body, err := readPacket(conn)
		if err != nil {
			return
		}
		switch header & typeMask {
		case typeConnect:
			b.note(body)
			_, err = conn.Write(appendPacket(nil, typeConnack, append([]byte{0, 0}, b.connack...)))
		case typeSubscribe & typeMask:
			device = &fakeDevice{conn: conn}
			err = b.subscribe(device, body)
		case typePublish:
			err = b.publish(conn, header, body)
		case typePuback:
			b.mu.Lock()
			device.acks++
			b.mu.Unlock()
		case typeDisconnect:
			return
		}
		if err != nil {
			return
		}
	}
}

// note remembers who connected, from the fixed part of CONNECT for MQTT 3.1.1.
func (b *fakeBroker) note(body []byte) {
	if b.protocol != MQTT311 {
		return
	}
	rest := body[10:]
	text := func() string {
		n := binary.BigEndian.Uint16(rest)
		s := string(rest[2 : 2+n])
		rest = rest[2+n:]
		return s
	}
	text()
	user, password := "", ""
	if body[7]&0x80 != 0 {
		user = text()
	}
	if body[7]&0x40 != 0 {
		password = text()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users[user] = password
}

func (b *fakeBroker) subscribe(device *fakeDevice, body []byte) error {
	at := 2
	if b.protocol == MQTT5 {
		at++
	}
	topic := string(body[at+2 : len(body)-1])
	b.mu.Lock()
	b.byTop[topic] = append(b.byTop[topic], device)
	b.mu.Unlock()
	suback := []byte{body[0], body[1], 1}
	if b.protocol == MQTT5 {
		suback = []byte{body[0], body[1], 0, 1}
	}
	_, err := device.conn.Write(appendPacket(nil, typeSuback, suback))
	return err
}

func (b *fakeBroker) publish(conn net.Conn, header byte, body []byte) error {
	p, err := parsePublish(b.protocol, header, body)
	if err != nil {
		return err
	}
	topic := string(body[2 : 2+binary.BigEndian.Uint16(body)])
	s, _, ok := findStamp(p.payload, nil)
	if !ok {
		return errors.New("no stamp")
	}
	now := fault(0)
	if s.sender == 0 && s.counter == b.at {
		now = b.fault
	}
	ack := []byte{byte(p.packetID >> 8), byte(p.packetID)}
	payload := bytes.Clone(p.payload)
	deliveries := [][]byte{payload}
	switch now {
	case lose:
		deliveries = nil
	case repeat:
		deliveries = append(deliveries, payload)
	case swap:
		b.mu.Lock()
		b.held[topic], deliveries = payload, nil
		b.mu.Unlock()
	case misroute:
		topic = "inbox/recipient2"
	case cut:
		payload[len(payload)-1] = '!'
	case mangle:
		payload[len(marker)] = 'X'
	case stayMute:
		ack = nil
	case refuse:
		ack, deliveries = append(ack, 0x97, 0), nil
	case hangUp:
		return io.EOF
	case replayOther:
		other := bytes.Clone(payload)
		stamp{run: s.run + 1, sender: s.sender, counter: s.counter}.put(other)
		deliveries = append(deliveries, other)
	}
	switch now {
	case repeatLate:
		b.group.Go(func() {
			time.Sleep(late)
			b.mu.Lock()
			defer b.mu.Unlock()
			_ = b.deliver(b.byTop[topic][0], topic, payload) // the test counts it
		})
	case dawdle:
		time.Sleep(late)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if held := b.held[topic]; held != nil && now != swap {
		deliveries = append(deliveries, held)
		delete(b.held, topic)
	}
	for _, payload := range deliveries {
		for _, device := range b.byTop[topic] {
			if err := b.deliver(device, topic, payload); err != nil {
				return err
			}
		}
	}
	if ack == nil {
		return nil
	}
	answer := appendPacket(nil, typePuback, ack)
	if now == ackTwice {
		answer = append(answer, answer...)
	}
	_, err = conn.Write(answer)
	return err
}

func (b *fakeBroker) deliver(device *fakeDevice, topic string, payload []byte) error {
	if b.envelope {
		payload = fmt.Appendf(nil, `{"inbox_seq":%d,"type":"message","from":"alice","body":"%s"}`, device.id+1, payload)
	}
	device.id++
	packet, idAt, _ := publishTemplate(b.protocol, topic, payload)
	binary.BigEndian.PutUint16(packet[idAt:], device.id)
	_, err := device.conn.Write(packet)
	return err
}
