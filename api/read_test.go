package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
)

// announced are the markers that were told of, as "seq to" or "seq quiet".
func (h *house) announced() []string {
	h.Lock()
	defer h.Unlock()
	var all []string
	for _, c := range h.Announced {
		to := string(c.Event.To) + string(c.Event.Room)
		if c.Quiet {
			to = "quiet"
		}
		all = append(all, fmt.Sprintf("%d %s", c.Event.Seq, to))
	}
	return all
}

func (h *house) mustHaveAnnounced(want ...string) {
	h.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, h.announced()); diff != "" {
		h.t.Fatalf("announced: -want +got:\n%s", diff)
	}
}

// bubble runs a test in a house with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, h *house)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.api.Start()
		f(t, h)
		if err := h.api.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A marker is moved at once and only grows. Others learn of it at once, too, and
// then of the latest once a second.
func TestRead(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		for i := range 9 {
			h.say("alice", "bob", fmt.Sprint(i))
		}
		h.say("bob", "alice", "so that alice may see bob")
		read := func(seq, want float64) {
			t.Helper()
			if got := h.ask("bob", "read", fmt.Sprintf(`{"with":"alice","seq":%v}`, seq))["read_seq"]; got != want {
				t.Errorf("read %v: %v, want %v", seq, got, want)
			}
		}
		h.Lock()
		for _, c := range h.Talks { // sending has moved it
			c.Read["bob"] = 0
		}
		h.Unlock()
		read(2, 2)
		h.mustHaveAnnounced("2 alice")
		read(4, 4)
		read(3, 4)
		read(5, 5)
		time.Sleep(900 * time.Millisecond)
		h.mustHaveAnnounced("2 alice")
		time.Sleep(100 * time.Millisecond)
		h.mustHaveAnnounced("2 alice", "5 alice")
		read(6, 6)
		time.Sleep(time.Second)
		h.mustHaveAnnounced("2 alice", "5 alice", "6 alice")
		time.Sleep(5 * time.Second)
		read(6, 6) // does not move it
		h.mustHaveAnnounced("2 alice", "5 alice", "6 alice")
		read(99, 10)
		h.mustHaveAnnounced("2 alice", "5 alice", "6 alice", "10 alice")
	})
}

// Each conversation and each reader has a second of its own.
func TestReadersApart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.say("alice", "bob", "1")
		h.say("carol", "bob", "1")
		h.ask("alice", "send", `{"room":"dev","body":"1"}`)
		h.ask("bob", "read", `{"with":"alice","seq":1}`)
		h.ask("bob", "read", `{"with":"carol","seq":1}`)
		h.ask("bob", "read", `{"room":"dev","seq":1}`)
		h.ask("carol", "read", `{"room":"dev","seq":1}`)
		synctest.Wait()
		if got := h.announced(); len(got) != 4 {
			t.Errorf("announced %q at once, want all four", got)
		}
	})
}

// Who the reader does not tell learns nothing.
func TestReadIsQuiet(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.say("alice", "bob", "1")
		h.ask("bob", "read", `{"with":"alice","seq":1}`) // bob has never written to alice
		h.mustHaveAnnounced("1 quiet")
		h.say("bob", "alice", "2")
		h.say("alice", "bob", "3")
		h.ask("bob", "me.update", `{"receipts":false}`)
		time.Sleep(2 * time.Second)
		h.ask("bob", "read", `{"with":"alice","seq":3}`)
		h.mustHaveAnnounced("1 quiet", "3 quiet")
		h.ask("bob", "send", `{"room":"dev","body":"1"}`)
		h.ask("alice", "read", `{"room":"dev","seq":1}`)
		h.mustHaveAnnounced("1 quiet", "3 quiet", "1 quiet")
		// What counts is how it is when a marker is told of.
		h.ask("bob", "me.update", `{"receipts":true}`)
		h.say("alice", "bob", "4")
		h.say("alice", "bob", "5")
		time.Sleep(2 * time.Second)
		h.ask("bob", "read", `{"with":"alice","seq":4}`)
		h.mustHaveAnnounced("1 quiet", "3 quiet", "1 quiet", "4 alice")
		h.ask("bob", "read", `{"with":"alice","seq":5}`)
		h.mustHaveAnnounced("1 quiet", "3 quiet", "1 quiet", "4 alice")
		h.ask("bob", "me.update", `{"receipts":false}`)
		time.Sleep(time.Second)
		h.mustHaveAnnounced("1 quiet", "3 quiet", "1 quiet", "4 alice", "5 quiet")
	})
}

// What could not be announced is later; what a killed server left is by the next.
func TestReadSurvives(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.say("alice", "bob", "1")
		h.say("bob", "alice", "2")
		h.say("alice", "bob", "3")
		h.say("alice", "bob", "4")
		h.ask("bob", "read", `{"with":"alice","seq":3}`)
		h.mustHaveAnnounced("3 alice")
		h.ask("bob", "read", `{"with":"alice","seq":4}`)
		h.Lock()
		h.Fail = func() error { return fmt.Errorf("away: %w", postbox.ErrUnavailable) }
		h.Unlock()
		time.Sleep(3500 * time.Millisecond)
		h.mustHaveAnnounced("3 alice")
		h.Lock()
		h.Fail = nil
		h.Unlock()
		time.Sleep(time.Second)
		h.mustHaveAnnounced("3 alice", "4 alice")

		h.say("bob", "carol", "1") // carol may see him
		h.Lock()
		place := postbox.Place{Conversation: 100, With: "carol", WithID: h.Users["carol"].ID}
		h.Left = []api.Unannounced{{User: h.Users["bob"].ID, Name: "bob", Place: place, Seq: 7}}
		h.Unlock()
		o := h.Options()
		o.Logger = slog.New(slog.DiscardHandler)
		next := api.New(o)
		next.Start()
		h.mustHaveAnnounced("3 alice", "4 alice", "7 carol")
		if err := next.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Shutdown announces what waits, and does not wait for a database that hangs.
func TestReadShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		for i := range 3 {
			h.say("alice", "bob", fmt.Sprint(i))
		}
		h.ask("bob", "read", `{"with":"alice","seq":1}`)
		h.ask("bob", "read", `{"with":"alice","seq":2}`)
		began := time.Now()
		if err := h.api.Shutdown(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		if got := h.announced(); !slices.Contains(got, "2 quiet") {
			t.Errorf("announced %q, want the one that waited, too", got)
		}
		h.ask("bob", "read", `{"with":"alice","seq":3}`) // kept; the next server tells of it

		o := h.Options()
		o.Logger, o.Writer = slog.New(slog.DiscardHandler), stuck{}
		hung := api.New(o)
		hung.Start()
		h.say("alice", "bob", "4")
		if _, err := hung.Call(t.Context(), h.Caller("bob", api.EdgeHTTP), "read", []byte(`{"with":"alice","seq":4}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := hung.Shutdown(ctx); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v, want an error after 3 s", err, time.Since(began))
		}
	})
}

// stuck is a writer whose database does not answer.
type stuck struct{}

func (stuck) Send(ctx context.Context, _ postbox.Topic, _ *postbox.Publish) (postbox.Stored, bool, error) {
	<-ctx.Done()
	return postbox.Stored{}, false, postbox.ErrUnavailable
}

func (stuck) Change(ctx context.Context, _ *postbox.Change) error {
	<-ctx.Done()
	return postbox.ErrUnavailable
}
