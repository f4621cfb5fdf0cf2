package model

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// link is an MQTT connection that says exactly what it is told to.
type link struct {
	conn    net.Conn
	in      *bufio.Reader
	version byte
}

func dial(addr string, version byte) (*link, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &link{conn, bufio.NewReader(conn), version}, nil
}

// write puts packets on the wire in one piece.
func (l *link) write(all ...packets.Packet) error {
	var b bytes.Buffer
	for _, pk := range all {
		pk.ProtocolVersion = l.version
		pk.Mods.AllowResponseInfo = true
		if err := encode(&b, pk); err != nil {
			return fmt.Errorf("encode a packet of type %d: %w", pk.FixedHeader.Type, err)
		}
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := l.conn.Write(b.Bytes())
	return err
}

func encode(b *bytes.Buffer, pk packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectEncode(b)
	case packets.Publish:
		return pk.PublishEncode(b)
	case packets.Puback:
		return pk.PubackEncode(b)
	case packets.Pubrel:
		return pk.PubrelEncode(b)
	case packets.Subscribe:
		return pk.SubscribeEncode(b)
	case packets.Unsubscribe:
		return pk.UnsubscribeEncode(b)
	case packets.Pingreq:
		return pk.PingreqEncode(b)
	case packets.Disconnect:
		return pk.DisconnectEncode(b)
	}
	return fmt.Errorf("no client sends it")
}

// read returns the next packet. It waits as long as the connection lives.
func (l *link) read() (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: l.version}
	first, err := l.in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	length, _, err := packets.DecodeLength(l.in)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = length
	body := make([]byte, length)
	if _, err := io.ReadFull(l.in, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	case packets.Pingresp:
	default:
		err = fmt.Errorf("no server sends packets of type %d", pk.FixedHeader.Type)
	}
	return pk, err
}

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
