package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
	"postbox/internal/apitest"
)

// shape is what a sync says, without the messages themselves.
func shape(reply object) string {
	var s strings.Builder
	for _, e := range reply["entries"].([]any) {
		entry := e.(object)
		if entry["type"] == "gap" {
			fmt.Fprintf(&s, "gap %v %v-%v, ", entry["code"], entry["after"], entry["next"])
			continue
		}
		fmt.Fprintf(&s, "%v, ", entry["inbox_seq"])
	}
	fmt.Fprintf(&s, "next %v, complete %v", reply["next"], reply["complete"])
	return s.String()
}

func TestSync(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 6 {
		h.say("alice", "bob", fmt.Sprint(i+1))
	}
	for _, test := range []struct{ request, want string }{
		{`{}`, "1, 2, 3, 4, 5, 6, next 6, complete true"},
		{`{"after":4}`, "5, 6, next 6, complete true"},
		{`{"limit":2}`, "1, 2, next 2, complete false"},
		{`{"after":4,"limit":2}`, "5, 6, next 6, complete true"},
		{`{"after":6}`, "next 6, complete true"},
		{`{"after":2,"epoch":"k3f9"}`, "3, 4, 5, 6, next 6, complete true"},
		{`{"after":2,"epoch":"j2e8"}`, "gap epoch_changed 1-2, 2, 3, 4, 5, 6, next 6, complete true"},
		{`{"epoch":"j2e8"}`, "1, 2, 3, 4, 5, 6, next 6, complete true"},
	} {
		reply := h.ask("bob", "sync", test.request)
		if diff := cmp.Diff(test.want, shape(reply)); diff != "" || reply["epoch"] != "k3f9" {
			t.Errorf("%s: epoch %v, -want +got:\n%s", test.request, reply["epoch"], diff)
		}
	}
	// Retention takes some away: what is gone is told, and never twice.
	h.Lock()
	for _, i := range []int{0, 1, 3, 5} {
		h.Users["bob"].Inbox[i] = nil
	}
	h.Unlock()
	for _, test := range []struct{ request, want string }{
		{`{}`, "gap expired 0-3, 3, gap expired 3-5, 5, gap expired 5-7, next 6, complete true"},
		{`{"limit":1}`, "gap expired 0-3, 3, next 3, complete false"},
		{`{"after":3,"limit":1}`, "gap expired 3-5, 5, next 5, complete false"},
		{`{"after":5}`, "gap expired 5-7, next 6, complete true"},
		{`{"after":4}`, "5, gap expired 5-7, next 6, complete true"},
		{`{"after":1,"epoch":"j2e8","limit":1}`, "gap epoch_changed 1-2, gap expired 1-3, 3, next 3, complete false"},
	} {
		if diff := cmp.Diff(test.want, shape(h.ask("bob", "sync", test.request))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.request, diff)
		}
	}
}

// A page that has no room for more is no sign that the rest is gone.
func TestSyncOfLargeMessages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 4 {
		h.say("alice", "bob", strings.Repeat("x", 60<<10))
	}
	for _, test := range []struct{ request, want string }{
		{`{}`, "1, 2, 3, next 3, complete false"},
		{`{"after":3}`, "4, next 4, complete true"},
	} {
		if diff := cmp.Diff(test.want, shape(h.ask("bob", "sync", test.request))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.request, diff)
		}
	}
	h.Lock()
	h.Users["bob"].Inbox[3] = nil
	h.Unlock()
	if diff := cmp.Diff("1, 2, 3, gap expired 3-5, next 4, complete true", shape(h.ask("bob", "sync", `{}`))); diff != "" {
		t.Errorf("when the rest is gone: -want +got:\n%s", diff)
	}
}

// A number of another lineage is told as such, and who tells of it in the epoch
// in force bears witness.
func TestSyncOfAnotherEpoch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.say("alice", "bob", "1")
	for request, witnesses := range map[string]int{
		`{"after":1,"epoch":"zzzz"}`: 0, `{"after":2}`: 0, `{"after":2,"epoch":"k3f9"}`: 1,
	} {
		h.Lock()
		h.WasAhead = 0
		h.Unlock()
		if err := h.refused("bob", "sync", request); err.Code != postbox.CodeEpochChanged {
			t.Errorf("%s: %v", request, err)
		}
		h.Lock()
		if h.WasAhead != witnesses {
			t.Errorf("%s: %d witnesses, want %d", request, h.WasAhead, witnesses)
		}
		h.Unlock()
	}
}

// Pages of whatever size hold all entries once.
func TestSyncFits(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 30 {
		h.say("alice", "bob", strings.Repeat("\n", i*20))
	}
	h.Lock()
	h.Users["bob"].Inbox[7], h.Users["bob"].Inbox[29] = nil, nil
	h.Unlock()
	c := h.Caller("bob", api.EdgeMQTT)
	for c.MaxReply = 600; c.MaxReply < 4000; c.MaxReply += 131 {
		after, next := 0.0, 1.0
		for complete := false; !complete; {
			reply, err := h.api.Call(t.Context(), c, "sync", fmt.Appendf(nil, `{"after":%v,"limit":7}`, after))
			if err != nil {
				t.Fatal(err)
			}
			if len(reply) > c.MaxReply {
				t.Fatalf("%d bytes in %d", len(reply), c.MaxReply)
			}
			var page object
			if err := json.Unmarshal(reply, &page); err != nil {
				t.Fatal(err)
			}
			for _, e := range page["entries"].([]any) {
				entry := e.(object)
				if entry["type"] == "gap" {
					next = entry["next"].(float64)
				} else if entry["inbox_seq"] != next {
					t.Fatalf("in %d bytes: %v where %v is due", c.MaxReply, entry["inbox_seq"], next)
				} else {
					next++
				}
			}
			if page["next"].(float64) <= after {
				t.Fatalf("in %d bytes after %v: %s", c.MaxReply, after, reply)
			}
			after, complete = page["next"].(float64), page["complete"].(bool)
		}
		if next != 31 {
			t.Errorf("in %d bytes: ended before %v", c.MaxReply, next)
		}
	}
}

// A sync that waits returns with the first entry, after its time with none, and
// with what the edge gives as the reason when that ends it.
func TestSyncWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		bob := h.Caller("bob", api.EdgeHTTP)
		var reply []byte
		var err *postbox.Error
		wait := func(ctx context.Context) chan struct{} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				reply, err = h.api.Call(ctx, bob, "sync", []byte(`{"wait":30}`))
			}()
			synctest.Wait()
			return done
		}
		done, began := wait(t.Context()), time.Now()
		time.Sleep(10 * time.Second)
		h.say("alice", "bob", "hi")
		<-done
		if took := time.Since(began); took != 10*time.Second || !strings.Contains(string(reply), `"body":"hi"`) {
			t.Errorf("after %v: %s %v", took, reply, err)
		}
		h.Lock()
		h.Users["bob"].Inbox = nil
		h.Unlock()
		began = time.Now()
		<-wait(t.Context())
		if took := time.Since(began); took != 30*time.Second || string(reply) != `{"entries":[],"next":0,"epoch":"k3f9","complete":true}` {
			t.Errorf("after %v: %s %v", took, reply, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		done = wait(ctx)
		cancel(postbox.Errorf(postbox.CodeUnauthenticated, "the token has ended"))
		if <-done; err == nil || err.Code != postbox.CodeUnauthenticated || err.Message != "the token has ended" {
			t.Errorf("ended: %s %v", reply, err)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		done = wait(ctx)
		cancel(nil)
		if <-done; err == nil || err.Code != postbox.CodeUnavailable {
			t.Errorf("ended without a reason: %s %v", reply, err)
		}
	})
}

var _ api.Inbox = (*apitest.World)(nil)
