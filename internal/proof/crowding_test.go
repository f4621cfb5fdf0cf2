package proof

import (
	"net"
	"sync"
	"testing"
	"time"
)

// strangers opens n connections, from as many addresses as that takes at a
// hundred each, and sends what say gives.
func strangers(t testing.TB, addr string, n int, say func(i int) []byte) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/100))}}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_, _ = conn.Write(say(i))
		conns[i] = conn
	}
	return conns
}

// ended waits until the server has ended all of them.
func (g *siege) ended(conns []net.Conn, by time.Time) {
	g.Helper()
	open := 0
	for _, conn := range conns {
		_ = conn.SetReadDeadline(by)
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			open++
		}
		conn.Close()
	}
	if open > 0 {
		g.Errorf("%d of %d connections are still open", open, len(conns))
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// A thousand connections say nothing, a thousand a part of a CONNECT, a thousand a
// byte of one every second. All are ended when their time is over, memory stays
// flat, and others notice nothing.
func (g *siege) crowds() {
	const crowd = 1000
	connect := g.mallory(5, 0).packet()
	for _, kind := range []struct {
		name string
		say  func(i int) []byte
		drip bool
	}{
		{"silent", func(int) []byte { return nil }, false},
		{"a part of a CONNECT", func(i int) []byte { return connect[:1+i%(len(connect)-1)] }, false},
		{"a byte a second", func(int) []byte { return connect[:1] }, true},
	} {
		before, _ := g.measure()
		goroutines := g.s.Goroutines()
		idle, _ := Resident(g, g.s.PID())
		ResetPeak(g, g.s.PID())
		conns := strangers(g, g.s.MQTT, crowd, kind.say)
		opened := time.Now()
		var slow sync.WaitGroup
		if kind.drip {
			slow.Go(func() {
				for n := 1; n < len(connect) && time.Since(opened) < connectTime; n++ {
					time.Sleep(time.Second)
					for _, conn := range conns {
						_, _ = conn.Write(connect[n : n+1])
					}
				}
			})
		}
		g.Logf("%s: %d goroutines, %d before", kind.name, g.s.Goroutines(), goroutines)
		withstood(g, before, g.measure)
		slow.Wait()
		g.ended(conns, opened.Add(connectTime+patience))
		g.s.WaitGoroutines(goroutines)
		flatMemory(g, g.s, idle, kind.name)
	}
}
