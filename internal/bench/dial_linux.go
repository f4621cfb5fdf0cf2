package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// link is a connection that has been let in, as the event loop wants it: a
// non-blocking descriptor of its own, outside Go's poller.
type link struct {
	fd int
	// early is what came with the handshake and belongs to the loop.
	early []byte
	// receiveMaximum is how many publishes the broker takes unacknowledged.
	receiveMaximum int
}

// dial connects as id, and subscribes to filter at QoS 1 unless it is empty.
// The context's deadline bounds all of it.
func dial(ctx context.Context, o *Options, id identity, filter string) (link, error) {
	l, err := handshake(ctx, o, id, filter)
	if err != nil {
		return link{}, fmt.Errorf("connect %s to %s as %q: %w", id.clientID, o.Address, id.user, err)
	}
	return l, nil
}

func handshake(ctx context.Context, o *Options, id identity, filter string) (l link, err error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return link{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err() // the closed connection is only how that ended it
		}
	}()

	if l.receiveMaximum, err = connect(conn, o.Protocol, id, o.Session); err != nil {
		return link{}, err
	}
	if filter != "" {
		if l.early, err = subscribe(conn, o.Protocol, filter); err != nil {
			return link{}, err
		}
	}
	l.fd, err = detach(conn.(*net.TCPConn))
	return l, err
}

// connect sends CONNECT and reads CONNACK.
func connect(conn net.Conn, protocol Protocol, id identity, session bool) (receiveMax int, err error) {
	if _, err := conn.Write(connectPacket(protocol, id, session)); err != nil {
		return 0, err
	}
	header, body, err := readPacket(conn)
	if err != nil {
		return 0, fmt.Errorf("wait for CONNACK: %w", err)
	}
	if header&typeMask != typeConnack || len(body) < 2 {
		return 0, fmt.Errorf("packet 0x%02X came instead of CONNACK", header)
	}
	if body[1] != 0 {
		return 0, fmt.Errorf("refused with code 0x%02X", body[1])
	}
	if protocol == MQTT5 {
		return receiveMaximum(body)
	}
	return maxWindow, nil
}

// subscribe sends SUBSCRIBE and reads up to its SUBACK; what comes before it is
// given back.
func subscribe(conn net.Conn, protocol Protocol, filter string) (early []byte, err error) {
	if _, err := conn.Write(subscribePacket(protocol, filter)); err != nil {
		return nil, err
	}
	for {
		header, body, err := readPacket(conn)
		if err != nil {
			return nil, fmt.Errorf("wait for SUBACK of %q: %w", filter, err)
		}
		if header&typeMask != typeSuback {
			early = appendPacket(early, header, body)
			continue
		}
		if len(body) == 0 || body[len(body)-1] != 1 {
			return nil, fmt.Errorf("subscription to %q was not granted QoS 1: SUBACK % X", filter, body)
		}
		return early, nil
	}
}

// readPacket reads one packet and nothing after it. It is slow and only for the
// handshake.
func readPacket(r io.Reader) (header byte, body []byte, err error) {
	one := make([]byte, 1)
	if _, err := io.ReadFull(r, one); err != nil {
		return 0, nil, err
	}
	header = one[0]
	length, err := binary.ReadUvarint(byteReader{r, one})
	if err != nil {
		return 0, nil, err
	}
	if length > readBuffer {
		return 0, nil, fmt.Errorf("packet of %d bytes: the generator takes %d", length, readBuffer)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return header, body, err
}

// byteReader reads single bytes through a buffer of one.
type byteReader struct {
	r   io.Reader
	one []byte
}

func (b byteReader) ReadByte() (byte, error) {
	_, err := io.ReadFull(b.r, b.one)
	return b.one[0], err
}

// detach takes a second descriptor for the connection. Go sets TCP_NODELAY and
// non-blocking on the socket itself, so both hold for it too.
func detach(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var dupErr error
	if err := raw.Control(func(original uintptr) {
		fd, dupErr = unix.FcntlInt(original, syscall.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return 0, err
	}
	return fd, dupErr
}

// forget connects once more with a clean session, which removes the stored one.
func forget(ctx context.Context, o *Options, id identity) error {
	clean := *o
	clean.Session = false
	l, err := dial(ctx, &clean, id, "")
	if err != nil {
		return fmt.Errorf("remove the session of %s: %w", id.clientID, err)
	}
	defer unix.Close(l.fd)
	// The broker removes it at CONNECT; DISCONNECT only spares its log a line.
	_, _ = unix.Write(l.fd, []byte{typeDisconnect, 0})
	return nil
}
