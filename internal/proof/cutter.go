package proof

import (
	"bufio"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
)

// Cutter cuts connections to PostgreSQL while a batch is being stored. The
// batch is one call in one implicit transaction, so that the call is its
// COMMIT too: whoever loses the connection there does not know whether the
// batch was stored.
type Cutter struct {
	// Held is called after a cut, with what was cut; connections from then on
	// wait until it returns. It may be called from several goroutines at once.
	Held func(Cut)

	mu      sync.Mutex // guards the fields below
	random  *rand.Rand
	every   int // one cut in so many batches; 0: none
	held    int
	free    chan struct{} // closed when held is zero again
	backend map[*gated]uint32
}

// Cut is one batch whose connection was cut.
type Cut struct {
	How     string
	Backend uint32   // process id of PostgreSQL's side
	IDs     []string // of the messages of the batch
}

// The ways to cut a batch.
const (
	cutHalf   = "with half of the request sent"
	cutEnd    = "without the end of the request"
	cutWhole  = "with the whole request sent"
	cutFence  = "while finding out"
	appending = "postbox.append("
	fencing   = "UPDATE postbox.lanes"
)

// NewCutter makes a cutter that will cut by chance, as the seed says. It does
// nothing before Start.
func NewCutter(seed uint64, held func(Cut)) *Cutter {
	return &Cutter{Held: held, random: rand.New(rand.NewPCG(seed, 0)), backend: map[*gated]uint32{}}
}

// Start cuts one in so many batches from now on, and one in ten of the
// statements by which the server finds out what became of the batch; 0: none.
func (c *Cutter) Start(every int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.every = every
}

// await waits while what was cut is being looked at.
func (c *Cutter) await() {
	if c == nil {
		return
	}
	c.mu.Lock()
	free := c.free
	held := c.held > 0
	c.mu.Unlock()
	if held {
		<-free
	}
}

// choose says whether and how to cut a statement; empty: not at all.
func (c *Cutter) choose(query string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.every == 0:
	case strings.Contains(query, appending) && c.random.IntN(c.every) == 0:
		return []string{cutHalf, cutEnd, cutWhole, cutWhole}[c.random.IntN(4)]
	case strings.Contains(query, fencing) && c.random.IntN(10) == 0:
		return cutFence
	}
	return ""
}

func (c *Cutter) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held++; c.held == 1 {
		c.free = make(chan struct{})
	}
}

func (c *Cutter) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held--; c.held == 0 {
		close(c.free)
	}
}

// forth passes the server's statements on, by message of PostgreSQL's
// protocol, until one is to be cut.
func (c *Cutter) forth(g *Gate, p *gated) {
	in := bufio.NewReaderSize(p.client, 64<<10)
	out := bufio.NewWriterSize(p.server, 64<<10)
	if copyStartup(in, out) != nil {
		return
	}
	statements := map[string]string{}
	how, ids := "", []string(nil)
	for {
		if in.Buffered() == 0 && how == "" && out.Flush() != nil {
			return
		}
		m, err := readMessage(in)
		if err != nil {
			return
		}
		switch m.kind() {
		case 'P': // Parse: name, statement
			name, rest := zeroEnded(m.body())
			statements[name], _ = zeroEnded(rest)
		case 'B': // Bind: portal, name, parameters
			_, rest := zeroEnded(m.body())
			name, parameters := zeroEnded(rest)
			if how = c.choose(statements[name]); how != "" && how != cutFence {
				ids = messageIDs(parameters)
			}
		}
		switch {
		case how == cutHalf:
			_, _ = out.Write(m[:len(m)/2])
			c.cut(p, out, how, ids)
			return
		case how != "" && m.kind() == 'S' && how == cutEnd:
			c.cut(p, out, how, ids)
			return
		case how != "" && m.kind() == 'S':
			_, _ = out.Write(m)
			c.cut(p, out, how, ids)
			return
		}
		if _, err := out.Write(m); err != nil {
			return
		}
	}
}

// cut ends both sides, once PostgreSQL has been sent what is in out.
func (c *Cutter) cut(p *gated, out *bufio.Writer, how string, ids []string) {
	c.hold()
	_ = p.client.Close()
	_ = out.Flush()
	_ = p.server.Close()
	c.mu.Lock()
	backend := c.backend[p]
	c.mu.Unlock()
	go func() {
		defer c.release()
		c.Held(Cut{how, backend, ids})
	}()
}

// back passes on what PostgreSQL says, and notes its process id.
func (c *Cutter) back(p *gated) {
	defer func() {
		c.mu.Lock()
		delete(c.backend, p)
		c.mu.Unlock()
	}()
	in := bufio.NewReaderSize(p.server, 64<<10)
	out := bufio.NewWriterSize(p.client, 64<<10)
	for {
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		m, err := readMessage(in)
		if err != nil {
			return
		}
		if m.kind() == 'K' { // BackendKeyData
			c.mu.Lock()
			c.backend[p] = binary.BigEndian.Uint32(m.body())
			c.mu.Unlock()
		}
		if _, err := out.Write(m); err != nil {
			return
		}
	}
}
