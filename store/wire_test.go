package store_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// cut says where a connection ends while a statement runs on it.
type cut int

const (
	pass   cut = iota
	before     // the statement does not reach the server
	racing     // the server has been sent the statement; nobody knows how far it comes
	after      // the server has finished it; the client does not hear of it
)

// wire stands between a client and PostgreSQL and cuts connections at chosen
// statements.
type wire struct {
	t        *testing.T
	address  string
	listener net.Listener
	dial     func() (net.Conn, error)
	work     sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	plan  func(query string) cut
	reset bool // cut with RST instead of FIN
	cuts  int
	conns map[net.Conn]bool
}

// newWire starts a proxy before the database at address and returns it with
// the URL by which the database is reached through it.
func newWire(t *testing.T, address string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	network, target := "tcp", u.Host
	q := u.Query()
	if host := q.Get("host"); u.Host == "" && host != "" {
		port := q.Get("port")
		if port == "" {
			port = "5432"
		}
		network, target = "unix", filepath.Join(host, ".s.PGSQL."+port)
	}
	w := &wire{t: t, dial: func() (net.Conn, error) { return net.Dial(network, target) }}
	w.address = "127.0.0.1:0"
	w.open()
	t.Cleanup(w.close)
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = w.address, q.Encode()
	return w, u.String()
}

// open lets connections through; after close, again at the same address.
func (w *wire) open() {
	w.t.Helper()
	listener, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.listener, w.address, w.conns = listener, listener.Addr().String(), make(map[net.Conn]bool)
	w.work.Go(func() { w.accept(listener) })
}

// on cuts connections as plan says, which is called with each statement. Nil
// lets everything pass.
func (w *wire) on(plan func(query string) cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan = plan
}

// once cuts at the next statement that contains text.
func (w *wire) once(text string, c cut) {
	done := false
	w.on(func(query string) cut {
		if done || !bytes.Contains([]byte(query), []byte(text)) {
			return pass
		}
		done = true
		return c
	})
}

func (w *wire) decide(query string) cut {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil {
		return pass
	}
	c := w.plan(query)
	if c != pass {
		w.cuts++
	}
	return c
}

// count is how many connections were cut so far.
func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts
}

// close takes the database away: nothing is accepted any more and everything
// is cut. It is safe to call twice.
func (w *wire) close() {
	_ = w.listener.Close()
	w.mu.Lock()
	for c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
	w.mu.Unlock()
	w.work.Wait()
}

// keep notes a connection, to be closed at the end. It reports false when that
// has come.
func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		_ = c.Close()
		return false
	}
	w.conns[c] = true
	return true
}

func (w *wire) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		if !w.keep(client) {
			return
		}
		server, err := w.dial()
		if err != nil || !w.keep(server) {
			_ = client.Close()
			continue
		}
		s := &span{wire: w, client: client, server: server}
		w.work.Go(s.forth)
		w.work.Go(s.back)
	}
}

// span is one connection through the wire.
type span struct {
	wire           *wire
	client, server net.Conn

	mu   sync.Mutex
	deaf bool // what the server says is not passed on; with its last word the client is cut off
}

// forth passes the client's messages on and knows its statements by name.
func (s *span) forth() {
	defer s.server.Close()
	in := bufio.NewReader(s.client)
	if copyStart(in, s.server) != nil {
		return
	}
	statements := make(map[string]string)
	end := pass
	for {
		kind, body, err := readMessage(in)
		if err != nil {
			return
		}
		switch kind {
		case 'P': // Parse: name, statement
			name, rest := text(body)
			statements[name], _ = text(rest)
		case 'B': // Bind: portal, name
			_, rest := text(body)
			name, _ := text(rest)
			end = s.wire.decide(statements[name])
		case 'Q': // Query
			query, _ := text(body)
			end = s.wire.decide(query)
		}
		switch end {
		case before:
			s.cut()
			return
		case after:
			s.mu.Lock()
			s.deaf = true
			s.mu.Unlock()
		}
		if writeMessage(s.server, kind, body) != nil {
			return
		}
		if end == racing && (kind == 'S' || kind == 'Q') {
			s.cut()
			return
		}
	}
}

// back passes the server's messages on.
func (s *span) back() {
	defer s.client.Close()
	in := bufio.NewReader(s.server)
	for {
		kind, body, err := readMessage(in)
		if err != nil {
			return
		}
		s.mu.Lock()
		deaf := s.deaf
		s.mu.Unlock()
		switch {
		case deaf && kind == 'Z': // ReadyForQuery: what it was is committed
			s.cut()
			return
		case deaf:
		case writeMessage(s.client, kind, body) != nil:
			return
		}
	}
}

func (s *span) cut() {
	s.wire.mu.Lock()
	reset := s.wire.reset
	s.wire.mu.Unlock()
	if tcp, ok := s.client.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = s.client.Close()
	_ = s.server.Close()
}

// copyStart passes on the first message of a connection, which has no kind.
func copyStart(in *bufio.Reader, out io.Writer) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(in, head); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head)-4)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	_, err := out.Write(append(head, body...))
	return err
}

func readMessage(in *bufio.Reader) (kind byte, body []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(in, head); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	_, err = io.ReadFull(in, body)
	return head[0], body, err
}

func writeMessage(out io.Writer, kind byte, body []byte) error {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	_, err := out.Write(append(head, body...))
	return err
}

// text cuts a string that ends with a zero byte.
func text(b []byte) (string, []byte) {
	s, rest, _ := bytes.Cut(b, []byte{0})
	return string(s), rest
}
