package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// errand sends numbered messages from one user to another, each with a key and
// until it is stored, whatever happens to the server.
type errand struct {
	url, from, to string
	client        http.Client
	began, stored atomic.Int64
}

func (e *errand) send(ctx context.Context, n int64) {
	body := fmt.Sprintf(`{"to":%q,"body":"message %d","idempotency_key":"m-%d"}`, e.to, n, n)
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+"/v1/send", strings.NewReader(body))
		if err != nil {
			return // the test waits in vain
		}
		r.SetBasicAuth(e.from, "a secret")
		r.Header.Set("Content-Type", "application/json")
		answer, err := e.client.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if answer.StatusCode == http.StatusCreated || answer.StatusCode == http.StatusOK {
				e.stored.Add(1)
				return
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// run sends at a rate with some on their way at once, until enough are sent and
// done says so.
func (e *errand) run(ctx context.Context, rate, enough int, done func() bool) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	slots := make(chan struct{}, 8)
	var work sync.WaitGroup
	defer work.Wait()
	for int(e.began.Load()) < enough || !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		slots <- struct{}{}
		n := e.began.Add(1)
		work.Go(func() {
			defer func() { <-slots }()
			e.send(ctx, n)
		})
	}
}

// Whatever is cut while messages are sent, and though the server is killed once, a
// long poll, the EventSource of a real browser, and a client that goes from one
// way to another get every entry once and in its order.
func TestStreamsOverBrokenLines(t *testing.T) {
	t.Parallel()
	pages, cutsOfPage, cutsOfReader, messages := 2, 3, 20, 2000
	if soak {
		pages, cutsOfPage, cutsOfReader, messages = 5, 40, 200, 10_000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := StartServer(t, ServerOptions{Env: []string{"POSTBOX_LIMITS_REQUEST_RATE=0", "POSTBOX_LIMITS_STREAMS_PER_USER=50"}})
	s.AddUser("alice", "a secret")
	s.AddUser("bob", "a secret")

	var lines []*Line
	line := func(to string) *Line {
		seed++
		l := StartLine(t, to, seed)
		lines = append(lines, l)
		return l
	}
	var trails []*Trail
	var origins []string
	opened := make(chan int, 1000)
	for i := range pages {
		trails = append(trails, &Trail{Name: fmt.Sprint("page ", i)})
		l := line(s.HTTP)
		l.WholeHeads = true
		origins = append(origins, "http://"+l.Addr)
	}
	StartBrowser(t, "bob", "a secret", origins, func(e PageEvent) {
		r := trails[e.Page]
		switch {
		case e.Event == "open":
			opened <- e.Page
		case e.Event == "error" && e.Closed:
			r.Blame("its EventSource has given up")
		case e.Event == "message":
			var data Envelope
			if r.Add([]byte(e.Data)) && json.Unmarshal([]byte(e.Data), &data) == nil && e.ID != r.Position() {
				r.Blame("the id of %d is %s", data.InboxSeq, e.ID)
			}
		}
	})
	for range pages {
		select {
		case <-opened:
		case <-time.After(5 * patience):
			t.Fatal("the browser does not open its pages")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	polling := NewReader("long poll", "bob", "a secret", line(s.HTTP).Addr, "", seed)
	mixed := NewReader("all ways", "bob", "a secret", line(s.HTTP).Addr, line(s.MQTT).Addr, seed)
	trails = append(trails, polling.Trail, mixed.Trail)
	work.Go(func() { polling.Follow(ctx, polling.LongPoll) })
	work.Go(func() { mixed.Follow(ctx, mixed.LongPoll, mixed.Events, mixed.Deliveries) })
	for i, l := range lines {
		switch {
		case i < pages:
			l.Break(cutsOfPage)
		case i == pages:
			l.Break(cutsOfReader)
		default: // the mixed client has two
			l.Break(cutsOfReader / 2)
		}
	}
	allBroken := func() bool {
		for _, l := range lines {
			if _, due := l.Broken(); due > 0 {
				return false
			}
		}
		return true
	}

	e := &errand{url: "http://" + s.HTTP, from: "alice", to: "bob", client: http.Client{Transport: &http.Transport{}}}
	defer e.client.CloseIdleConnections()
	sent := make(chan struct{})
	work.Go(func() {
		defer close(sent)
		e.run(ctx, 100, messages, allBroken)
	})
	awaitCount(t, "half of the messages", func() bool { return int(e.stored.Load()) >= messages/2 })
	s.Kill9()
	s.Restart()
	limit := time.After(5*patience + time.Duration(cutsOfPage)*10*time.Second)
	select {
	case <-sent:
	case <-limit:
		t.Errorf("after %d messages the lines have not broken as often as they should", e.stored.Load())
		cancel()
		<-sent
	}
	total := e.stored.Load()
	for _, r := range trails {
		awaitCount(t, fmt.Sprintf("%d entries on the %s", total, r.Name), func() bool {
			bodies, fault := r.Seen()
			return len(bodies) >= int(total) || fault != ""
		})
		bodies, fault := r.Seen()
		once := map[string]bool{}
		for _, b := range bodies {
			once[b] = true
		}
		if fault != "" || len(bodies) != int(total) || len(once) != int(total) {
			t.Errorf("%s: of %d messages it got %d, %d of them different; %s", r.Name, total, len(bodies), len(once), fault)
		}
	}
	cancel()
	work.Wait()
	cuts := 0
	for _, l := range lines {
		made, _ := l.Broken()
		cuts += made
	}
	t.Logf("%d messages, %d cuts, one kill; the mixed client: %v", total, cuts, mixed.Times)
	for _, way := range []string{"long poll", "events", "MQTT"} {
		if mixed.Times[way] < int(total)/20 {
			t.Errorf("the mixed client got %d entries by %s, too few to show anything", mixed.Times[way], way)
		}
	}
}

// awaitCount waits until done is true.
func awaitCount(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(5 * patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Errorf("waited in vain for %s", what)
			return
		}
	}
}
