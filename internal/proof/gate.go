package proof

import (
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// Gate stands before a PostgreSQL on a unix socket and serves it on a TCP
// port. Closed, it is a database that is away: connections end, new ones are
// refused. Silent, it is a network that swallows everything.
type Gate struct {
	// URL is that of the database behind the gate.
	URL string

	wg      sync.WaitGroup
	mu      sync.Mutex // guards the fields below
	socket  string
	state   gateState
	changed chan struct{} // closed and replaced with each change of state
	pairs   map[*gated]struct{}
	cutter  *Cutter
}

type gateState int

const (
	gateOpen gateState = iota
	gateClosed
	gateSilent
)

// gated is one connection through a gate.
type gated struct {
	client, server net.Conn
	dead           bool // swallows everything, for good; the gate's mu guards it
}

// StartGate puts an open gate before the database of a lib/pq URL with a unix
// socket. It ends with the test.
func StartGate(t testing.TB, database string) *Gate {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	g := &Gate{socket: socketOf(u), changed: make(chan struct{}), pairs: map[*gated]struct{}{}}
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = listener.Addr().String(), q.Encode()
	g.URL = u.String()
	g.wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			g.wg.Go(func() { g.serve(c) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		g.Close()
		g.wg.Wait()
	})
	return g
}

// serve carries one connection. Neither side learns of the other's end while
// the network is silent.
func (g *Gate) serve(client net.Conn) {
	defer client.Close()
	g.mu.Lock()
	p := &gated{client: client, dead: g.state == gateSilent}
	if g.state == gateClosed {
		g.mu.Unlock()
		return
	}
	g.pairs[p] = struct{}{}
	socket, cutter := g.socket, g.cutter
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.pairs, p)
		g.mu.Unlock()
	}()
	if p.dead {
		g.carry(p, nil, client)
		return
	}
	cutter.await()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	g.mu.Lock()
	p.server = server
	gone := g.state == gateClosed
	g.mu.Unlock()
	if gone {
		return
	}
	var wg sync.WaitGroup
	end := func() {
		g.heal(p)
		client.Close()
		server.Close()
	}
	wg.Go(func() {
		if cutter != nil {
			cutter.forth(g, p)
		} else {
			g.carry(p, server, client)
		}
		end()
	})
	wg.Go(func() {
		if cutter != nil {
			cutter.back(p)
		} else {
			g.carry(p, client, server)
		}
		end()
	})
	wg.Wait()
}

// carry moves bytes until either side ends, and drops those of a dead pair.
func (g *Gate) carry(p *gated, to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		g.mu.Lock()
		dead := p.dead
		g.mu.Unlock()
		if dead {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// heal waits, at the end of a dead connection, until packets get through again.
func (g *Gate) heal(p *gated) {
	for {
		g.mu.Lock()
		wait := p.dead && g.state == gateSilent
		changed := g.changed
		g.mu.Unlock()
		if !wait {
			return
		}
		<-changed
	}
}

// socketOf is the unix socket of a lib/pq URL.
func socketOf(u *url.URL) string {
	q := u.Query()
	return filepath.Join(q.Get("host"), ".s.PGSQL."+q.Get("port"))
}

// Lead puts another database behind the gate, for connections from now on.
func (g *Gate) Lead(t testing.TB, database string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.socket = socketOf(u)
}

// Through lets a cutter cut connections, those from now on.
func (g *Gate) Through(c *Cutter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cutter = c
}

func (g *Gate) become(s gateState) {
	g.state = s
	close(g.changed)
	g.changed = make(chan struct{})
}

// Close ends all connections and lets no new one through.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.become(gateClosed)
	g.cut()
}

// Cut ends all connections; new ones are let through.
func (g *Gate) Cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut()
}

func (g *Gate) cut() {
	for p := range g.pairs {
		p.client.Close()
		if p.server != nil {
			p.server.Close()
		}
	}
}

// Silence swallows everything from now on: connections stay, new ones are
// accepted, and nobody hears anything. Those there are then stay dead also when
// the gate is opened again.
func (g *Gate) Silence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.become(gateSilent)
	for p := range g.pairs {
		p.dead = true
	}
}

// Open lets connections through again.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.become(gateOpen)
}
