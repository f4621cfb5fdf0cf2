package broker_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/apitest"
)

// While messages fly from several senders over two lanes, members join, leave, are
// removed and return. Everybody has exactly what was sent while they were in the
// room, in one order: in the inbox and on a device that was there all the time,
// and nothing else in history and in what is found.
func TestMembershipProperty(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("POSTBOX_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("POSTBOX_TEST_SEED=%d", seed)
	for _, history := range []string{"joined", "all"} {
		t.Run(history, func(t *testing.T) { membershipProperty(t, history, seed) })
	}
}

func membershipProperty(t *testing.T, history string, seed uint64) {
	w, h := roomWorld(t, func(w *world) { w.config.Database.Lanes = 2 })
	const comers, senders, steps, messages = 6, 4, 60, 60
	owner := w.user("owner")
	h.must(owner, "room.create", fmt.Sprintf(`{"room":"dev","public":true,"history":%q}`, history))
	users := []string{owner}
	devices := map[string]*device{}
	follow := func(user string) {
		c := w.connect(t, durable(4, user, "phone"))
		c.listen(user)
		devices[user] = &device{wire: c}
	}
	for i := range comers + senders {
		user := w.user("user")
		users = append(users, user)
		follow(user)
		if i >= comers {
			h.must(owner, "room.add", fmt.Sprintf(`{"room":"dev","user":%q}`, user))
		}
	}
	for _, d := range devices {
		go d.run()
	}

	var work sync.WaitGroup
	sent := make([]int, senders)
	for i, user := range users[1+comers:] {
		work.Go(func() {
			c := w.connect(t, login{version: 5, user: user, id: "sender", clean: true})
			for n := range messages {
				c.publish(publication{id: uint16(n + 1), qos: 1, topic: "room/dev", body: fmt.Sprintf("%s says %d", user, n)})
				if n%8 == 7 {
					for range 8 {
						if ack := c.Expect(packets.Puback); ack.ReasonCode == 0 {
							sent[i]++
						}
					}
				}
			}
			for range messages % 8 {
				if ack := c.Expect(packets.Puback); ack.ReasonCode == 0 {
					sent[i]++
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, uint64(len(history))))
	for part := range 3 { // of the comers two belong to each
		chance := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		mine := users[1+2*part : 3+2*part]
		work.Go(func() {
			for range steps / 3 {
				user := mine[chance.IntN(2)]
				switch chance.IntN(5) {
				case 0:
					h.ask(user, "room.join", `{"room":"dev"}`)
				case 1:
					h.ask(user, "room.leave", `{"room":"dev"}`)
				case 2:
					h.ask(owner, "room.remove", fmt.Sprintf(`{"room":"dev","user":%q}`, user))
				case 3:
					h.ask(owner, "room.add", fmt.Sprintf(`{"room":"dev","user":%q}`, user))
				case 4: // they speak, too, when they may
					status, _ := h.ask(user, "send", fmt.Sprintf(`{"room":"dev","body":"%s says so"}`, user))
					if status != http.StatusCreated && status != http.StatusForbidden {
						t.Errorf("%s sends: %d", user, status)
					}
				}
			}
		})
	}
	work.Wait()

	m := apitest.NewMembership(owner)
	whole := h.entries(owner)
	changes := 0
	for _, e := range whole {
		if e.Type == "room" {
			changes++
		}
		if e.Event != "created" {
			if err := m.Take(apitest.RoomEntry{Type: e.Type, From: e.From, Event: e.Event, User: e.User, Seq: e.Seq, Line: e.line()}); err != nil {
				t.Error(err)
			}
		}
	}
	if want := senders * messages; m.Last < int64(want) {
		t.Errorf("%d messages in the room, want at least %d", m.Last, want)
	}
	if changes < steps/4 {
		t.Errorf("only %d changes of the room", changes)
	}
	for i, n := range sent {
		if n != messages {
			t.Errorf("of sender %d %d of %d messages were taken", i, n, messages)
		}
	}
	t.Logf("%s: %d messages, %d changes of the room", history, m.Last, changes)
	w.indexed()
	for _, user := range users[1:] {
		var got []string
		for _, e := range h.entries(user) {
			got = append(got, e.line())
		}
		if !slices.Equal(got, m.Sees[user]) {
			t.Errorf("the inbox of %s has %d entries, want %d: first difference %s", user, len(got), len(m.Sees[user]), difference(got, m.Sees[user]))
		}
		d := devices[user]
		d.expect(len(got))
		if live := d.lines(); !slices.Equal(live, got) {
			t.Errorf("the device of %s got %d entries, the inbox has %d: first difference %s", user, len(live), len(got), difference(live, got))
		}
		h.historyAgrees(m, user, history)
	}
}

func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("at %d: missing %q", i+1, want[i])
		case i >= len(want):
			return fmt.Sprintf("at %d: %q too much", i+1, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("at %d: %q, want %q", i+1, got[i], want[i])
		}
	}
	return "none"
}

// historyAgrees holds what a user reads of the room against the model.
func (c *callers) historyAgrees(m *apitest.Membership, user, history string) {
	c.t.Helper()
	due := func(seq int64) bool { return m.May(user, history, seq) }
	everywhere := c.searched(user, "")
	for seq := int64(1); seq <= m.Last; seq++ {
		if everywhere[seq] != due(seq) {
			c.t.Errorf("%s finds message %d: %t, want %t; was in the room %v", user, seq, everywhere[seq], due(seq), m.Spans[user])
			return
		}
	}
	status, reply := c.ask(user, "history", `{"room":"dev","limit":500}`)
	if len(m.Spans[user]) == 0 {
		if status != http.StatusNotFound {
			c.t.Errorf("%s was never in the room and reads it: %d", user, status)
		}
		return
	}
	if status != http.StatusOK {
		c.t.Errorf("%s reads the room: %d", user, status)
		return
	}
	read := map[int64]bool{}
	for _, message := range reply["messages"].([]any) {
		read[toEnvelope(c.t, message).Seq] = true
	}
	there := c.searched(user, `"room":"dev",`)
	for seq := int64(1); seq <= m.Last; seq++ {
		if read[seq] != due(seq) || there[seq] != due(seq) {
			c.t.Errorf("%s reads message %d: %t, and finds it: %t; want %t; was in the room %v",
				user, seq, read[seq], there[seq], due(seq), m.Spans[user])
			return
		}
	}
}

// searched are the seqs of all that a user finds of the room, page by page.
func (c *callers) searched(user, where string) map[int64]bool {
	c.t.Helper()
	found := map[int64]bool{}
	for before := ""; ; {
		reply := c.must(user, "search", fmt.Sprintf(`{%s"text":"says",%s"limit":100}`, where, before))
		for _, message := range reply["messages"].([]any) {
			e := toEnvelope(c.t, message)
			found[e.Seq] = true
			before = fmt.Sprintf(`"before":%q,`, e.ID)
		}
		if reply["has_more"] != true {
			return found
		}
	}
}

// entries are all of a user's inbox.
func (c *callers) entries(user string) (all []envelope) {
	c.t.Helper()
	for after := int64(0); ; {
		reply := c.must(user, "sync", fmt.Sprintf(`{"after":%d,"limit":500}`, after))
		for _, entry := range reply["entries"].([]any) {
			e := toEnvelope(c.t, entry)
			if after++; e.InboxSeq != after {
				c.t.Errorf("entry %d of %s has the number %d", after, user, e.InboxSeq)
			}
			all = append(all, e)
		}
		if reply["complete"] == true {
			return all
		}
	}
}

// device reads all that comes, until the end of its connection.
type device struct {
	*wire

	mu  sync.Mutex // guards got
	got []string
}

func (d *device) run() {
	for {
		pk, err := d.Next()
		if err != nil {
			return
		}
		if pk.FixedHeader.Type != packets.Publish {
			continue
		}
		d.puback(pk.PacketID)
		var e envelope
		if json.Unmarshal(pk.Payload, &e) != nil {
			continue
		}
		d.mu.Lock()
		d.got = append(d.got, e.line())
		d.mu.Unlock()
	}
}

// expect waits until the device has so many.
func (d *device) expect(n int) {
	await(d.T, "all entries on a device", func() bool { return len(d.lines()) >= n })
}

func (d *device) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}
