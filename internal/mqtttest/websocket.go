package mqtttest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// First bytes of WebSocket frames (RFC 6455 §5.2): a whole message, or a part of
// one without the bit Fin.
const (
	Fin          = 0x80
	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	CloseFrame   = 0x8
	Ping         = 0x9
	Pong         = 0xa
)

// WebSocket is a connection that was upgraded. As a net.Conn it is a stream, each
// Write one message; by Send it says any frame. It answers nothing by itself, not
// even a close.
type WebSocket struct {
	*net.TCPConn
	in   *bufio.Reader
	rest []byte // of a message that was read
	left []byte // of a frame that was not written whole
}

// Closed is how Read ends when the server has sent a close: with this code.
type Closed uint16

func (c Closed) Error() string { return fmt.Sprintf("closed with %d", uint16(c)) }

// DialWebSocket asks for MQTT over a WebSocket, with more lines of a header.
func DialWebSocket(d net.Dialer, address, header string) (*WebSocket, *http.Response, error) {
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(Patience))
	ask := "GET /mqtt HTTP/1.1\r\nHost: postbox\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: mqtt\r\n" + header + "\r\n"
	in := bufio.NewReader(conn)
	_, err = io.WriteString(conn, ask)
	var r *http.Response
	if err == nil {
		r, err = http.ReadResponse(in, nil)
	}
	if err == nil && r.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the upgrade was answered with %s", r.Status)
	}
	if err != nil {
		_ = conn.Close()
		return nil, r, err
	}
	_ = conn.SetDeadline(time.Time{})
	return &WebSocket{TCPConn: conn.(*net.TCPConn), in: in}, r, nil
}

// Frame puts a client's header before b, masked with zeros.
func Frame(first byte, b []byte) []byte {
	return append(FrameHead(first, uint64(len(b))), b...)
}

// FrameHead is the header of a frame of so many bytes, in as few as it takes.
func FrameHead(first byte, length uint64) []byte {
	head := []byte{first}
	switch {
	case length < 126:
		head = append(head, 0x80|byte(length))
	case length < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(length))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), length)
	}
	return append(head, 0, 0, 0, 0)
}

// Send writes one frame as it is.
func (s *WebSocket) Send(first byte, b []byte) error {
	_, err := s.TCPConn.Write(Frame(first, b))
	return err
}

// Write implements net.Conn: one binary message. After a deadline that has passed
// it goes on where it was when it is called with the same bytes again.
func (s *WebSocket) Write(b []byte) (int, error) {
	if len(s.left) == 0 {
		s.left = Frame(Fin|Binary, b)
	}
	n, err := s.TCPConn.Write(s.left)
	s.left = s.left[n:]
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Next reads a frame of the server's.
func (s *WebSocket) Next() (first byte, b []byte, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.in, head); err != nil {
		return 0, nil, err
	}
	length := uint64(head[1])
	if size := map[uint64]int{126: 2, 127: 8}[length]; size > 0 {
		long := make([]byte, 8)
		if _, err := io.ReadFull(s.in, long[8-size:]); err != nil {
			return 0, nil, err
		}
		length = binary.BigEndian.Uint64(long)
	}
	if length > 1<<24 {
		return 0, nil, fmt.Errorf("the server sends a frame of %d bytes", length)
	}
	b = make([]byte, length)
	_, err = io.ReadFull(s.in, b)
	return head[0], b, err
}

// Read implements net.Conn: what binary messages hold. Pings and pongs are passed
// over.
func (s *WebSocket) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		first, b, err := s.Next()
		switch {
		case err != nil:
			return 0, err
		case first&0x0f == CloseFrame && len(b) >= 2:
			return 0, Closed(binary.BigEndian.Uint16(b))
		case first&0x0f == CloseFrame:
			return 0, io.EOF
		case first&0x0f < CloseFrame:
			s.rest = b
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
