package model

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// link is an MQTT connection that says exactly what it is told to, and takes
// its end as it comes.
type link struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	version byte
}

func dial(t testing.TB, addr string, version byte) (*link, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &link{t, conn, bufio.NewReader(conn), version}, nil
}

// write puts packets on the wire in one piece.
func (l *link) write(all ...packets.Packet) error {
	var b []byte
	for _, pk := range all {
		pk.ProtocolVersion = l.version
		b = append(b, mqtttest.Encode(l.t, pk)...)
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := l.conn.Write(b)
	return err
}

// read returns the next packet. It waits as long as the connection lives.
func (l *link) read() (packets.Packet, error) { return mqtttest.Decode(l.in, l.version) }

// cut ends the connection as a broken line does: what was not read is lost, on
// both sides.
func (l *link) cut() {
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.conn.Close()
}

// packet is a packet of a type that needs no more than its id.
func packet(kind byte, id uint16) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id}
	if kind == packets.Pubrel || kind == packets.Subscribe || kind == packets.Unsubscribe {
		pk.FixedHeader.Qos = 1
	}
	return pk
}
