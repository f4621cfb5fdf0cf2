package proof

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// maxUncut is how many bytes go towards a client between two cuts at most.
const maxUncut = 8 << 10

// Line is a TCP line between clients and a server that breaks: after so many
// bytes towards a client, anywhere in what it reads.
type Line struct {
	Addr string
	// WholeHeads has the first bytes of a connection come all together or not at
	// all. Where there is no TLS, Chromium takes an answer that ends within its head
	// for a whole one without the headers that are missing, and an EventSource whose
	// answer has no Content-Type gives up. Set it before there are connections.
	WholeHeads bool

	to string
	wg sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	random *rand.Rand
	left   int // bytes until the next cut
	due    int // cuts still to be made
	made   int
	over   bool
	open   map[net.Conn]struct{}
}

// StartLine lays a line to a server. It is whole until Break, and ends with the
// test.
func StartLine(t testing.TB, to string, seed uint64) *Line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Addr: listener.Addr().String(), to: to, random: rand.New(rand.NewPCG(seed, 5)), open: map[net.Conn]struct{}{}}
	l.wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.wg.Go(func() { l.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.mu.Lock()
		l.over = true
		for c := range l.open {
			c.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

// Break lets the line break so many times from now on.
func (l *Line) Break(times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due, l.left = times, 1+l.random.IntN(maxUncut)
}

// Broken is how often it has, and how often it still will.
func (l *Line) Broken() (made, due int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made, l.due
}

// take says how many of n bytes get through, and whether that is the end.
func (l *Line) take(n int) (through int, cut, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due == 0 {
		return n, false, false
	}
	if n < l.left {
		l.left -= n
		return n, false, false
	}
	through = l.left
	l.left = 1 + l.random.IntN(maxUncut)
	l.due--
	l.made++
	return through, true, l.random.IntN(2) == 0
}

func (l *Line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return !l.over
}

func (l *Line) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	c.Close()
}

func (l *Line) serve(client net.Conn) {
	defer l.drop(client)
	server, err := net.DialTimeout("tcp", l.to, 5*time.Second)
	if err != nil {
		return
	}
	defer l.drop(server)
	if !l.keep(client) || !l.keep(server) {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	buffer := make([]byte, 32<<10)
	for first := true; ; first = false {
		n, err := server.Read(buffer)
		if err != nil {
			break
		}
		through, cut, reset := l.take(n)
		if cut && first && l.WholeHeads {
			through = 0
		}
		if reset {
			_ = client.(*net.TCPConn).SetLinger(0) // what is on its way is lost, too
		}
		if _, err := client.Write(buffer[:through]); err != nil || cut {
			break
		}
	}
	client.Close()
	server.Close()
	up.Wait()
}
