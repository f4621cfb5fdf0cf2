package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Shelf is a conversation to read in: of User with With, of Length messages whose
// bodies are those of [HistoryBody].
type Shelf struct {
	User, With string
	Token      string // of User
	Length     int
}

// HistoryBody is the body of a message: it names the conversation and the
// position, so that a page is known to be the right one. low and high are the
// names of its users, in the order of the alphabet.
func HistoryBody(low, high string, seq int) string {
	return string(appendHistoryBody(nil, low, high, seq))
}

func appendHistoryBody(b []byte, low, high string, seq int) []byte {
	words := [...]string{"see you at nine", "ok", "the train is late again, I am sorry", "thanks a lot!", "have you read what she wrote yesterday about the garden?"}
	for i := 0; i <= seq%4; i++ {
		b = append(append(b, words[(seq+i)%len(words)]...), ' ')
	}
	b = append(append(append(append(b, low...), '+'), high...), '#')
	return strconv.AppendInt(b, int64(seq), 10)
}

// HistoryOptions say what to read and where.
type HistoryOptions struct {
	Address  string // host:port of the HTTP API
	Shelves  []Shelf
	Clients  int // readers at once, each on its connection
	Limit    int // messages of a page
	Deep     bool
	WarmUp   time.Duration
	Duration time.Duration
	Processes
}

// HistoryRun is the outcome of one run.
type HistoryRun struct {
	Clients int     `json:"clients"`
	Where   string  `json:"where"` // "head": the latest messages; "deep": before any
	Limit   int     `json:"limit"`
	Window  float64 `json:"window_s"`
	Pages   uint64  `json:"pages"`
	Rate    float64 `json:"pages_per_s"`
	Latency Latency `json:"latency"`
	// CPU is for a page, those of the warm-up among them.
	CPU Each `json:"cpu_ms"`
	// Decoded of the pages were parsed as JSON; in all of them every message's
	// position and body were looked for.
	Decoded uint64 `json:"decoded"`
	// Wrong pages had another status, other messages or other bodies than were
	// stored; First says what was wrong with the first.
	Wrong uint64 `json:"wrong"`
	First string `json:"first_wrong,omitempty"`
}

// History reads pages of random conversations over HTTP, as fast as the answers
// come, and checks each.
func History(ctx context.Context, o HistoryOptions) (*HistoryRun, error) {
	if len(o.Shelves) == 0 {
		return nil, errors.New("no conversations to read in")
	}
	for _, s := range o.Shelves {
		if s.Length < 2*o.Limit {
			return nil, fmt.Errorf("%s and %s have %d messages: pages of %d need at least %d", s.User, s.With, s.Length, o.Limit, 2*o.Limit)
		}
	}
	before, err := o.spent()
	if err != nil {
		return nil, err
	}
	begin := time.Now().Add(o.WarmUp)
	readers := make([]*historyReader, o.Clients)
	var work sync.WaitGroup
	for i := range readers {
		r := &historyReader{o: &o, begin: begin, end: begin.Add(o.Duration), rand: rand.New(rand.NewPCG(uint64(i), 7))}
		readers[i] = r
		work.Go(func() { r.err = r.read(ctx) })
	}
	work.Wait()
	after, err := o.spent()
	if err != nil {
		return nil, err
	}
	run := &HistoryRun{Clients: o.Clients, Where: "head", Limit: o.Limit, Window: o.Duration.Seconds()}
	if o.Deep {
		run.Where = "deep"
	}
	all := &histogram{}
	var errs []error
	read := uint64(0)
	for _, r := range readers {
		read += r.pages
		all.add(&r.took)
		run.Decoded += r.decoded
		run.Wrong += r.wrong
		if run.First == "" {
			run.First = r.first
		}
		errs = append(errs, r.err)
	}
	run.Pages, run.Latency = all.total, all.latency()
	run.Rate = float64(run.Pages) / run.Window
	run.CPU = after.since(before, read)
	return run, errors.Join(errs...)
}

// historyReader is one client. It writes requests by hand: the generator shares
// its processors with what it measures.
type historyReader struct {
	o          *HistoryOptions
	begin, end time.Time
	rand       *rand.Rand

	conn    net.Conn
	answers *bufio.Reader
	request []byte
	text    []byte       // the body of the last answer
	body    bytes.Buffer // where it is if it is not in answers
	seen    int          // bytes of answers that it was read from
	wanted  []byte

	took           histogram
	pages          uint64 // with those of the warm-up
	decoded, wrong uint64
	first          string
	err            error
}

// open connects; the connection is of no use any more when ctx has ended.
func (r *historyReader) open(ctx context.Context) (leave func(), err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.o.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to the API: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	r.conn, r.answers = conn, bufio.NewReaderSize(conn, 64<<10)
	return func() {
		stop()
		_ = conn.Close()
	}, nil
}

func (r *historyReader) read(ctx context.Context) error {
	leave, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for n := 0; ; n++ {
		now := time.Now()
		if !now.Before(r.end) {
			return nil
		}
		s := &r.o.Shelves[r.rand.IntN(len(r.o.Shelves))]
		last := s.Length
		if r.o.Deep {
			last = r.o.Limit + r.rand.IntN(s.Length-r.o.Limit)
		}
		status, err := r.ask(s, last)
		if err != nil {
			return fmt.Errorf("read a page: %w", err)
		}
		took := time.Since(now)
		r.pages++
		if now.Before(r.begin) {
			continue
		}
		r.took.record(took.Nanoseconds())
		what := r.look(s, last, status)
		if what == "" && n%64 == 0 {
			what = r.decode(s, last)
		}
		if what != "" {
			r.wrong++
			if r.first == "" {
				r.first = what
			}
		}
	}
}

// ask sends one request and reads its answer into text.
func (r *historyReader) ask(s *Shelf, last int) (status int, err error) {
	question := fmt.Appendf(r.wanted[:0], `{"with":%q,"limit":%d}`, s.With, r.o.Limit)
	if r.o.Deep {
		question = fmt.Appendf(r.wanted[:0], `{"with":%q,"limit":%d,"before":%d}`, s.With, r.o.Limit, last+1)
	}
	r.wanted = question
	return r.post("history", s.Token, question)
}

// post sends one request of an operation and reads its answer into body.
func (r *historyReader) post(operation, token string, question []byte) (status int, err error) {
	r.request = fmt.Appendf(r.request[:0], "POST /v1/%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		operation, r.o.Address, token, len(question), question)
	if _, err := r.conn.Write(r.request); err != nil {
		return 0, err
	}
	if r.text, err = r.plain(); r.text != nil || err != nil {
		return http.StatusOK, err
	}
	answer, err := http.ReadResponse(r.answers, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	r.body.Reset()
	_, err = io.Copy(&r.body, answer.Body)
	r.text = r.body.Bytes()
	return answer.StatusCode, err
}

// plain is the body of an answer that is as simple as they usually are, where it
// was read; it is good until the next answer. nil: net/http must read it.
func (r *historyReader) plain() ([]byte, error) {
	_, _ = r.answers.Discard(r.seen)
	r.seen = 0
	if _, err := r.answers.Peek(1); err != nil {
		return nil, err
	}
	head, _ := r.answers.Peek(r.answers.Buffered())
	end := bytes.Index(head, []byte("\r\n\r\n"))
	if end < 0 || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 OK\r\n")) {
		return nil, nil
	}
	length, _, _ := bytes.Cut(after(head[:end+2], []byte("\r\nContent-Length: ")), []byte("\r"))
	n, err := strconv.Atoi(string(length))
	end += 4
	if err != nil || end+n > r.answers.Size() {
		return nil, nil
	}
	all, err := r.answers.Peek(end + n)
	if err != nil {
		return nil, err
	}
	r.seen = end + n
	return all[end:], nil
}

// look finds the position and the body of every message, in order, and no others.
func (r *historyReader) look(s *Shelf, last, status int) string {
	text := r.text
	if status != http.StatusOK {
		return fmt.Sprintf("status %d: %.200s", status, text)
	}
	low, high := min(s.User, s.With), max(s.User, s.With)
	for seq := last - r.o.Limit + 1; seq <= last; seq++ {
		// Both are looked for by what is short and always the same: that is cheap.
		text = after(text, []byte(`"seq":`))
		r.wanted = append(strconv.AppendInt(r.wanted[:0], int64(seq), 10), ',')
		right := bytes.HasPrefix(text, r.wanted)
		text = after(text, []byte(`"body":"`))
		r.wanted = append(appendHistoryBody(r.wanted[:0], low, high, seq), '"')
		if !right || !bytes.HasPrefix(text, r.wanted) {
			return fmt.Sprintf("%s with %s up to %d: message %d is not there, or has another body", s.User, s.With, last, seq)
		}
	}
	if bytes.Contains(text, []byte(`"seq":`)) {
		return fmt.Sprintf("%s with %s up to %d: there are more messages than %d", s.User, s.With, last, r.o.Limit)
	}
	return ""
}

// after is what follows the first occurrence; nil if there is none.
func after(text, wanted []byte) []byte {
	i := bytes.Index(text, wanted)
	if i < 0 {
		return nil
	}
	return text[i+len(wanted):]
}

// decode reads a page as a program would.
func (r *historyReader) decode(s *Shelf, last int) string {
	r.decoded++
	var page struct {
		Messages []struct {
			Seq      int
			From, To string
			Body     string
		}
		Before *bool `json:"has_before"`
		After  *bool `json:"has_after"`
	}
	if err := json.Unmarshal(r.text, &page); err != nil {
		return err.Error()
	}
	if page.Before == nil || page.After == nil || *page.Before != (last > r.o.Limit) || *page.After != (last < s.Length) {
		return fmt.Sprintf("up to %d of %d: has_before or has_after is wrong", last, s.Length)
	}
	for i, m := range page.Messages {
		sides := m.From == s.User && m.To == s.With || m.From == s.With && m.To == s.User
		if want := last - r.o.Limit + 1 + i; m.Seq != want || !sides || m.Body != HistoryBody(min(s.User, s.With), max(s.User, s.With), want) {
			return fmt.Sprintf("%s with %s: message %d is %d from %s to %s", s.User, s.With, want, m.Seq, m.From, m.To)
		}
	}
	return ""
}
