package proof

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Trail is what a client has got of an inbox. Every entry comes once and in its
// order. Its methods are safe for concurrent use.
type Trail struct {
	Name string

	mu     sync.Mutex // guards the fields below
	epoch  string
	bodies []string
	fault  string // the first
}

// Add takes an envelope and reports whether it was the one that was due.
func (r *Trail) Add(data []byte) bool {
	var e Envelope
	err := json.Unmarshal(data, &e)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch due := int64(len(r.bodies) + 1); {
	case err != nil:
		r.blame("%.200q: %v", data, err)
	case e.Type != "message" || e.InboxSeq != due || r.epoch != "" && e.Epoch != r.epoch || e.Body == nil:
		r.blame("%d was due, %.300s came", due, data)
	default:
		r.epoch = e.Epoch
		r.bodies = append(r.bodies, *e.Body)
		return true
	}
	return false
}

// Blame notes what must not happen.
func (r *Trail) Blame(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blame(format, args...)
}

func (r *Trail) blame(format string, args ...any) {
	if r.fault == "" {
		r.fault = fmt.Sprintf(format, args...)
	}
}

// Cursor is the last entry that the client has; before the first an epoch is
// not known.
func (r *Trail) Cursor() (epoch string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, int64(len(r.bodies))
}

// Position is the cursor as it is said to the server.
func (r *Trail) Position() string {
	epoch, n := r.Cursor()
	if epoch == "" {
		return fmt.Sprint(n)
	}
	return fmt.Sprint(epoch, ":", n)
}

// Seen are the bodies in their order, and what was wrong.
func (r *Trail) Seen() (bodies []string, fault string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bodies, r.fault
}

// Reader follows an inbox by its own cursor, in any of the ways there are, over
// lines that break.
type Reader struct {
	*Trail
	User, Password string
	HTTP, MQTT     string // addresses
	client         http.Client
	random         *rand.Rand
	Times          map[string]int // how often each way had an entry
}

// NewReader makes a reader whose choices follow the seed.
func NewReader(name, user, password, httpAddr, mqttAddr string, seed uint64) *Reader {
	return &Reader{
		Trail: &Trail{Name: name}, User: user, Password: password, HTTP: httpAddr, MQTT: mqttAddr,
		random: rand.New(rand.NewPCG(seed, 6)), Times: map[string]int{},
	}
}

// Follow reads in one of the ways, chosen anew each time, until ctx ends. What
// ends a way for a reason of the line's is tried again.
func (r *Reader) Follow(ctx context.Context, ways ...func(context.Context, int) error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r.client.Transport = transport
	for ctx.Err() == nil {
		most := 1 + r.random.IntN(40)
		if err := ways[r.random.IntN(len(ways))](ctx, most); err != nil {
			select { // the server may be away
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

func (r *Reader) take(way string, data []byte) error {
	if !r.Add(data) {
		return fmt.Errorf("%s: not what was due", way)
	}
	r.Times[way]++
	return nil
}

func (r *Reader) ask(ctx context.Context, method, path string, body io.Reader, header ...string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, "http://"+r.HTTP+path, body)
	if err != nil {
		return nil, err
	}
	q.SetBasicAuth(r.User, r.Password)
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	answer, err := r.client.Do(q)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable { // it starts, or ends
			r.Blame("%s %s: %d", method, path, answer.StatusCode)
		}
		return nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	return answer, nil
}

// LongPoll asks for what comes next, and waits for it, until it has had most
// entries or there are none.
func (r *Reader) LongPoll(ctx context.Context, most int) error {
	for most > 0 {
		n, err := r.poll(ctx, most)
		if err != nil || n == 0 {
			return err
		}
		most -= n
	}
	return nil
}

// poll asks once, and reports how many entries it got.
func (r *Reader) poll(ctx context.Context, most int) (int, error) {
	epoch, n := r.Cursor()
	request := map[string]any{"after": n, "limit": most, "wait": 30}
	if epoch != "" {
		request["epoch"] = epoch
	}
	body, err := json.Marshal(request)
	if err != nil {
		return 0, err
	}
	answer, err := r.ask(ctx, http.MethodPost, "/v1/sync", bytes.NewReader(body), "Content-Type", "application/json")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var page struct{ Entries []json.RawMessage }
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil {
		return 0, err // cut
	}
	for _, e := range page.Entries {
		if err := r.take("long poll", e); err != nil {
			return 0, err
		}
	}
	return len(page.Entries), nil
}

// Events reads some entries of the stream.
func (r *Reader) Events(ctx context.Context, most int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	path, header := "/v1/stream?after="+r.Position(), []string{}
	if r.random.IntN(2) == 0 { // as a browser comes back
		path, header = "/v1/stream?after=0", []string{"Last-Event-ID", r.Position()}
	}
	answer, err := r.ask(ctx, http.MethodGet, path, nil, header...)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data := ""
	for in := bufio.NewReader(answer.Body); most > 0; {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if rest, is := strings.CutPrefix(line, "data: "); is {
			data = rest
		}
		if line == "\n" && data != "" { // whole
			if err := r.take("events", []byte(data)); err != nil {
				return err
			}
			data = ""
			most--
		}
	}
	return nil
}

// Deliveries reads some entries over MQTT, and acknowledges them.
func (r *Reader) Deliveries(ctx context.Context, most int) error {
	o := RawConnect{Version: 4, ID: "reader", User: r.User, Password: r.Password, Clean: true}
	conn, err := o.dial(r.MQTT)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	in := bufio.NewReader(conn)
	subscribe := binary.BigEndian.AppendUint16(nil, 1)
	subscribe = append(appendText(subscribe, "inbox/"+r.User+"/since/"+r.Position()), 1)
	subscribe = append(appendText(subscribe, "inbox/"+r.User), 1)
	if _, err := conn.Write(append(o.packet(), packet(8<<4|2, subscribe)...)); err != nil {
		return err
	}
	for most > 0 {
		f, err := readFrame(in)
		if err != nil {
			return err
		}
		if f.kind() != typePublish {
			continue
		}
		p, err := parsePublish(f, o.Version)
		if err != nil {
			return err
		}
		if err := r.take("MQTT", p.Body); err != nil {
			return err
		}
		most--
		if _, err := conn.Write(packet(typePuback<<4, binary.BigEndian.AppendUint16(nil, p.PacketID))); err != nil {
			return err
		}
	}
	_, err = conn.Write(packet(typeDisconnect<<4, nil))
	return err
}
