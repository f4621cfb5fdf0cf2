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
	"strings"
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
	words := [...]string{"see you at nine", "ok", "the train is late again, I am sorry", "thanks a lot!", "have you read what she wrote yesterday about the garden?"}
	var b strings.Builder
	for i := 0; i <= seq%4; i++ {
		b.WriteString(words[(seq+i)%len(words)])
		b.WriteByte(' ')
	}
	return b.String() + low + "+" + high + "#" + strconv.Itoa(seq)
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
	begin := time.Now().Add(o.WarmUp)
	readers := make([]*historyReader, o.Clients)
	var work sync.WaitGroup
	for i := range readers {
		r := &historyReader{o: &o, begin: begin, end: begin.Add(o.Duration), rand: rand.New(rand.NewPCG(uint64(i), 7))}
		readers[i] = r
		work.Go(func() { r.err = r.read(ctx) })
	}
	work.Wait()
	run := &HistoryRun{Clients: o.Clients, Where: "head", Limit: o.Limit, Window: o.Duration.Seconds()}
	if o.Deep {
		run.Where = "deep"
	}
	all := &histogram{}
	var errs []error
	for _, r := range readers {
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
	request bytes.Buffer
	body    bytes.Buffer

	took           histogram
	decoded, wrong uint64
	first          string
	err            error
}

func (r *historyReader) read(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.o.Address)
	if err != nil {
		return fmt.Errorf("connect to the API: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	r.conn, r.answers = conn, bufio.NewReaderSize(conn, 64<<10)
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

// ask sends one request and reads its answer into body.
func (r *historyReader) ask(s *Shelf, last int) (status int, err error) {
	bound := ""
	if r.o.Deep {
		bound = fmt.Sprintf(`,"before":%d`, last+1)
	}
	question := fmt.Sprintf(`{"with":%q,"limit":%d%s}`, s.With, r.o.Limit, bound)
	r.request.Reset()
	fmt.Fprintf(&r.request, "POST /v1/history HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		r.o.Address, s.Token, len(question), question)
	if _, err := r.conn.Write(r.request.Bytes()); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(r.answers, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	r.body.Reset()
	_, err = io.Copy(&r.body, answer.Body)
	return answer.StatusCode, err
}

// look finds the position and the body of every message, in order.
func (r *historyReader) look(s *Shelf, last, status int) string {
	text := r.body.Bytes()
	if status != http.StatusOK {
		return fmt.Sprintf("status %d: %.200s", status, text)
	}
	if n := bytes.Count(text, []byte(`"sent_at":`)); n != r.o.Limit {
		return fmt.Sprintf("%d messages", n)
	}
	low, high := min(s.User, s.With), max(s.User, s.With)
	for seq := last - r.o.Limit + 1; seq <= last; seq++ {
		for _, want := range []string{`"seq":` + strconv.Itoa(seq) + `,`, `"body":"` + HistoryBody(low, high, seq) + `"`} {
			i := bytes.Index(text, []byte(want))
			if i < 0 {
				return fmt.Sprintf("%s with %s up to %d: no %s", s.User, s.With, last, want)
			}
			text = text[i+len(want):]
		}
	}
	return ""
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
	if err := json.Unmarshal(r.body.Bytes(), &page); err != nil {
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
