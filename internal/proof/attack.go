package proof

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Attack is what somebody does to the server again and again, with several hands
// at once, until Stop.
type Attack struct {
	stop   atomic.Bool
	work   sync.WaitGroup
	rounds atomic.Int64      // connections that were made
	webs   atomic.Int64      // those by WebSocket that got as far as their CONNECT
	sent   atomic.Int64      // packets
	told   [256]atomic.Int64 // codes of CONNACK and reasons of DISCONNECT, but 0
}

// StartAttack begins: each hand does round after round.
func StartAttack(t testing.TB, hands int, round func(a *Attack, hand int)) *Attack {
	a := new(Attack)
	for hand := range hands {
		a.work.Go(func() {
			for !a.stop.Load() {
				round(a, hand)
				a.rounds.Add(1)
			}
		})
	}
	t.Cleanup(a.Stop)
	return a
}

// Stop ends the attack, and every connection of it.
func (a *Attack) Stop() {
	a.stop.Store(true)
	a.work.Wait()
}

// open connects and sends a CONNECT; an attacker does not mind being refused.
func (a *Attack) open(addr string, c RawConnect) (net.Conn, *bufio.Reader) {
	conn, err := c.dial(addr)
	if err != nil {
		time.Sleep(time.Millisecond) // the ports are used up
		return nil, nil
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(c.packet()); err != nil {
		conn.Close()
		return nil, nil
	}
	if c.WebSocket {
		a.webs.Add(1)
	}
	return conn, bufio.NewReader(conn)
}

// Knock connects, reads the answer and goes.
func (a *Attack) Knock(addr string, c RawConnect) {
	conn, in := a.open(addr, c)
	if conn == nil {
		return
	}
	defer conn.Close()
	if f, err := readFrame(in); err == nil {
		a.note(f)
	}
}

// KnockAndRun connects and resets the connection before the answer comes.
func (a *Attack) KnockAndRun(addr string, c RawConnect) {
	if conn, _ := a.open(addr, c); conn != nil {
		_ = conn.(interface{ SetLinger(int) error }).SetLinger(0)
		conn.Close()
	}
}

func (a *Attack) note(f frame) {
	switch {
	case f.kind() == typeConnack && f.body[1] != 0:
		a.told[f.body[1]].Add(1)
	case f.kind() == typeDisconnect && len(f.body) > 0:
		a.told[f.body[0]].Add(1)
	}
}

// Pour connects and sends packet after packet, as fast as they are taken, until
// the connection ends. With deaf it reads nothing.
func (a *Attack) Pour(addr string, c RawConnect, deaf bool, packet func(n int) []byte) {
	conn, in := a.open(addr, c)
	if conn == nil {
		return
	}
	defer conn.Close()
	f, err := readFrame(in)
	if err != nil || f.body[1] != 0 {
		if err == nil {
			a.note(f)
		}
		time.Sleep(10 * time.Millisecond) // it is the packets that this is about
		return
	}
	var reader sync.WaitGroup
	defer reader.Wait()
	if !deaf {
		reader.Go(func() {
			for {
				f, err := readFrame(in)
				if err != nil {
					return
				}
				a.note(f)
			}
		})
	}
	var b []byte
	for n := 1; !a.stop.Load(); {
		b = b[:0]
		for range 20 {
			b = append(b, packet(n)...)
			n++
		}
		_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
		written, err := conn.Write(b)
		if ne, ok := err.(net.Error); ok && ne.Timeout() { // it is read slowly, or not at all
			for err != nil && !a.stop.Load() && ok {
				b = b[written:]
				_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
				written, err = conn.Write(b)
				ne, ok = err.(net.Error)
				ok = ok && ne.Timeout()
			}
		}
		if err != nil {
			break
		}
		a.sent.Add(20)
	}
	if !deaf { // the reason may still be on its way
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		reader.Wait()
	}
}

// numbered makes packets that have a packet id.
func numbered(first byte, n int, version byte, rest func(b []byte) []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(n%60000+1))
	if version == 5 && rest != nil {
		b = append(b, 0)
	}
	if rest != nil {
		b = rest(b)
	}
	return packet(first, b)
}

// publication makes a PUBLISH.
func publication(n int, version, qos byte, topic, body string) []byte {
	b := appendText(nil, topic)
	if qos > 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(n%60000+1))
	}
	if version == 5 {
		b = append(b, 0)
	}
	return packet(typePublish<<4|qos<<1, append(b, body...))
}

// Goroutines is how many the server has.
func (s *Server) Goroutines() int {
	s.t.Helper()
	r, err := http.Get("http://" + s.Private + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var n int
	if _, err := fmt.Fscanf(r.Body, "goroutine profile: total %d", &n); err != nil {
		s.t.Fatalf("the server does not tell its goroutines: %v", err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return n
}

// WaitGoroutines waits until the server has no more goroutines than before, give
// or take those of its HTTP and database connections.
func (s *Server) WaitGoroutines(before int) {
	s.t.Helper()
	const some = 12
	for limit := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		n := s.Goroutines()
		if n <= before+some {
			return
		}
		if time.Now().After(limit) {
			s.t.Errorf("%d goroutines, and there were %d before", n, before)
			return
		}
	}
}
