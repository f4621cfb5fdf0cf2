package proof

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Device is a device with a session that reads and acknowledges exactly when
// the proof says so. Its methods are for one goroutine at a time, except while
// it follows: then only Unfollow and Cut.
type Device struct {
	*Raw
	// Present is the flag of the CONNACK: the session was there.
	Present bool

	// Each, if set before anything is read, gets every delivery as it is read.
	Each func(Arrival)

	o         RawConnect
	ledger    *Ledger
	following sync.WaitGroup
	stop      atomic.Bool
	failed    atomic.Pointer[error]
}

// Arrival is one PUBLISH that a device read.
type Arrival struct {
	PacketID uint16
	Dup      bool
	Size     int // bytes on the wire
	Body     []byte
	User     map[string][]string // user properties, MQTT 5
}

// ConnectDevice connects a device and, if its session is new, subscribes it to
// its user's inbox. What it reads goes to the ledger, if there is one.
func ConnectDevice(t testing.TB, addr string, o RawConnect, l *Ledger) *Device {
	t.Helper()
	raw, code, present := DialRaw(t, addr, o)
	if code != 0 {
		t.Fatalf("CONNACK 0x%02x for %s/%s", code, o.User, o.ID)
	}
	d := &Device{Raw: raw, Present: present, o: o, ledger: l}
	if !present {
		if got := raw.Subscribe("inbox/" + o.User); got != 1 {
			t.Fatalf("SUBACK 0x%02x for %s/%s, want 1", got, o.User, o.ID)
		}
	}
	return d
}

// ReturnDevice connects a device that has a session and may be refused: an
// error says that it was. It may be called from any goroutine.
func ReturnDevice(t testing.TB, addr string, o RawConnect, l *Ledger) (*Device, error) {
	conn, err := o.dial(addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	f := frame{}
	if _, err = conn.Write(o.packet()); err == nil {
		f, err = readFrame(in)
	}
	switch {
	case err != nil:
	case f.kind() != typeConnack || f.body[1] != 0:
		err = fmt.Errorf("refused with packet %x", f.raw)
	case f.body[0] != 1:
		err = errors.New("its session is gone")
	default:
		_ = conn.SetDeadline(time.Time{})
		return &Device{Raw: &Raw{t: t, conn: conn, in: in, version: o.Version}, Present: true, o: o, ledger: l}, nil
	}
	conn.Close()
	return nil, err
}

// next reads the next PUBLISH and returns it, or the error that ended the
// wait: os.ErrDeadlineExceeded if nothing has begun to come for so long.
func (d *Device) next(limit time.Duration) (Arrival, error) {
	for {
		_ = d.conn.SetReadDeadline(time.Now().Add(limit))
		if _, err := d.in.Peek(1); err != nil {
			return Arrival{}, err
		}
		// Never give up inside a packet.
		_ = d.conn.SetReadDeadline(time.Now().Add(patience))
		f, err := readFrame(d.in)
		if err != nil {
			return Arrival{}, err
		}
		if f.kind() != typePublish {
			continue
		}
		return d.arrived(f)
	}
}

// arrived takes a PUBLISH.
func (d *Device) arrived(f frame) (Arrival, error) {
	p, err := parsePublish(f, d.version)
	if err != nil {
		return Arrival{}, err
	}
	if d.ledger != nil {
		d.ledger.Add(Delivery{
			Topic: p.Topic, QoS: p.QoS, Dup: p.Dup, Retain: p.Retain, Body: p.Body,
			User: p.Properties.User, ContentType: p.Properties.ContentType,
		})
	}
	a := Arrival{p.PacketID, p.Dup, len(f.raw), p.Body, p.Properties.User}
	if d.Each != nil {
		d.Each(a)
	}
	return a, nil
}

// Take reads the next n deliveries without acknowledging them.
func (d *Device) Take(n int) []Arrival {
	d.t.Helper()
	all := make([]Arrival, 0, n)
	for range n {
		a, err := d.next(patience)
		if err != nil {
			d.t.Fatalf("device %s/%s: delivery %d of %d: %v", d.o.User, d.o.ID, len(all)+1, n, err)
		}
		all = append(all, a)
	}
	return all
}

// Drain reads deliveries, without acknowledging them, until a PINGREQ is
// answered: all that the server has sent before.
func (d *Device) Drain() []Arrival {
	d.t.Helper()
	d.Write([]byte{0xc0, 0})
	_ = d.conn.SetReadDeadline(time.Now().Add(patience))
	var all []Arrival
	for {
		f, err := readFrame(d.in)
		if err != nil {
			d.t.Fatalf("device %s/%s: wait for PINGRESP: %v", d.o.User, d.o.ID, err)
		}
		switch f.kind() {
		case 13:
			return all
		case typePublish:
			a, err := d.arrived(f)
			if err != nil {
				d.t.Fatal(err)
			}
			all = append(all, a)
		}
	}
}

// Acknowledge sends a PUBACK for each packet id, in this order.
func (d *Device) Acknowledge(ids ...uint16) {
	d.t.Helper()
	d.Write(acks(nil, typePuback, ids...))
}

// AcknowledgeAs sends acknowledgements of another kind, such as PUBREC.
func (d *Device) AcknowledgeAs(kind byte, ids ...uint16) {
	d.t.Helper()
	d.Write(acks(nil, kind, ids...))
}

func acks(b []byte, kind byte, ids ...uint16) []byte {
	first := kind << 4
	if kind == typePubrel {
		first |= 2
	}
	for _, id := range ids {
		b = binary.BigEndian.AppendUint16(append(b, first, 2), id)
	}
	return b
}

// Follow reads and acknowledges everything in a goroutine until Unfollow, Cut
// or the end of the connection. rate is how many bytes it reads in a second;
// zero: as fast as it can.
func (d *Device) Follow(rate int) {
	d.stop.Store(false)
	d.following.Go(func() {
		var out []byte
		began, read := time.Now(), 0
		for !d.stop.Load() {
			a, err := d.next(100 * time.Millisecond)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			if err != nil {
				d.lost(err)
				return
			}
			if a.PacketID > 0 {
				out = acks(out, typePuback, a.PacketID)
			}
			if len(out) > 256 || d.in.Buffered() == 0 || rate > 0 {
				if _, err := d.conn.Write(out); err != nil {
					d.lost(err)
					return
				}
				out = out[:0]
			}
			if read += a.Size; rate > 0 {
				due := time.Duration(float64(read) / float64(rate) * float64(time.Second))
				if ahead := due - time.Since(began); ahead > 0 {
					time.Sleep(ahead)
				}
			}
		}
		_, _ = d.conn.Write(out)
	})
	d.t.Cleanup(d.Cut)
}

// lost notes that the connection has ended while it was followed.
func (d *Device) lost(err error) {
	if !d.stop.Load() {
		d.t.Logf("device %s/%s: its connection ended: %v", d.o.User, d.o.ID, err)
	}
	d.failed.Store(&err)
}

// Unfollow ends Follow between two deliveries; the connection stays.
func (d *Device) Unfollow() {
	d.stop.Store(true)
	d.following.Wait()
}

// Cut ends the connection without a DISCONNECT.
func (d *Device) Cut() {
	d.stop.Store(true)
	d.conn.Close()
	d.following.Wait()
}

// Failed is the error that ended the connection while it followed; nil if none
// did.
func (d *Device) Failed() error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Leave ends the connection with a DISCONNECT and waits until the server has
// closed it.
func (d *Device) Leave() {
	d.t.Helper()
	d.Unfollow()
	d.Write([]byte{0xe0, 0})
	_ = d.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, d.conn); err != nil && !errors.Is(err, net.ErrClosed) {
		d.t.Logf("device %s/%s: after DISCONNECT: %v", d.o.User, d.o.ID, err)
	}
	d.conn.Close()
}

// narrow is the Control of a dialer: small packets and a small receive buffer
// keep the server's send buffer small too.
func narrow(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1200))
	})
	return errors.Join(err, failed)
}
