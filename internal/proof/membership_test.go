package proof

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbox/internal/apitest"
)

// membership is a server whose rooms change while it is killed.
type membership struct {
	*testing.T
	s       *Server
	tokens  map[string]string
	phones  map[string]*Client
	ledgers map[string]*Ledger
	stop    atomic.Bool
	done    atomic.Int64 // requests that were answered
	lost    atomic.Int64 // requests that were not

	mu   sync.Mutex     // guards what follows
	said map[string]int // bodies that were sent over HTTP, with their answers
}

// histories are the rooms, by what a member may read of them.
var histories = map[string]string{"since": "joined", "whole": "all"}

// Members join, leave, are removed and return, over HTTP and MQTT, while messages
// fly and the server is killed at random moments. Nobody gets what was said while
// they were not in the room, nobody misses what was said while they were: on a
// device, in the inbox, in history and in search.
func TestMembershipUnderKills(t *testing.T) {
	t.Parallel()
	kills := 2
	if soak {
		kills = 50
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := newMembership(t)
	owner, comers, talkers := m.users(4, 2)
	for room, history := range histories {
		m.must(owner, "room.create", fmt.Sprintf(`{"room":%q,"public":true,"history":%q}`, room, history))
		for _, user := range talkers {
			m.must(owner, "room.add", fmt.Sprintf(`{"room":%q,"user":%q}`, room, user))
		}
	}
	var work sync.WaitGroup
	for i, user := range slices.Concat(comers, comers, talkers) {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		work.Go(func() {
			for n := 0; !m.stop.Load(); n++ {
				if i < 2*len(comers) {
					m.move(random, owner, user, fmt.Sprintf("%d-%d", i, n))
				} else {
					m.talk(random, user, fmt.Sprintf("%d-%d", i, n))
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, 1000))
	for range kills {
		from := m.done.Load()
		awaitCount(t, "requests to be answered", func() bool { return m.done.Load() >= from+100 })
		time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
		m.s.Kill9()
		m.s.Restart()
	}
	m.stop.Store(true)
	work.Wait()
	for user, phone := range m.phones {
		phone.WaitUp(t)
		// What it has asked for before is done by then.
		phone.Send(t, Publication{Topic: "inbox/" + user, QoS: 1, Body: []byte("the end")})
	}
	m.agree(owner)
	t.Logf("%d requests were answered, %d were not", m.done.Load(), m.lost.Load())
	if m.lost.Load() == 0 {
		t.Error("no request was cut off by a kill: this shows nothing")
	}
}

func newMembership(t *testing.T) *membership {
	t.Helper()
	env := []string{"POSTBOX_LIMITS_CONNECT_RATE=0", "POSTBOX_LIMITS_REQUEST_RATE=0", "POSTBOX_LIMITS_PUBLISH_RATE=0"}
	m := &membership{
		T: t, s: StartServer(t, ServerOptions{Env: env}), tokens: map[string]string{}, phones: map[string]*Client{},
		ledgers: map[string]*Ledger{}, said: map[string]int{},
	}
	return m
}

// users makes the owner, those who come and go, and those who stay, and a phone with
// a session for each.
func (m *membership) users(comers, talkers int) (owner string, come, talk []string) {
	m.Helper()
	m.s.AddUser("owner", "a secret of all")
	names := m.s.AddUsers("user", comers+talkers, "owner")
	driver := StartGoDriver(m)
	for _, user := range append(names, "owner") {
		status, reply, err := apiReply(m.s, "", "login", fmt.Sprintf(`{"user":%q,"password":"a secret of all"}`, user))
		if err != nil || status != http.StatusOK {
			m.Fatalf("login: %d %v %v", status, reply, err)
		}
		m.tokens[user] = fmt.Sprint(reply["access_token"])
		m.ledgers[user] = NewLedger(user, 0)
		m.ledgers[user].Rooms = true
		m.phones[user] = driver.Connect(ClientOptions{
			Library: Paho3, URL: "mqtt://" + m.s.MQTT, ID: "phone", User: user, Password: m.tokens[user],
			Subscribe: []Subscription{{"inbox/" + user, 1}}, OnMessage: m.ledgers[user].Add,
		})
		m.phones[user].WaitUp(m)
	}
	return "owner", names[:comers], names[comers:]
}

// ask asks over HTTP; the status is 0 when there is no answer.
func (m *membership) ask(user, operation, request string) (int, map[string]any) {
	status, reply, err := apiReply(m.s, "Bearer "+m.tokens[user], operation, request)
	if err != nil || status == http.StatusServiceUnavailable {
		m.lost.Add(1)
		time.Sleep(20 * time.Millisecond) // the server is away
		return 0, nil
	}
	m.done.Add(1)
	return status, reply
}

func (m *membership) must(user, operation, request string) map[string]any {
	m.Helper()
	status, reply := m.ask(user, operation, request)
	if status/100 != 2 {
		m.Fatalf("%s %s by %s: %d %v", operation, request, user, status, reply)
	}
	return reply
}

// move has a user join, leave, be added or removed, or speak.
func (m *membership) move(random *rand.Rand, owner, user, key string) {
	room := [...]string{"since", "whole"}[random.IntN(2)]
	asker, operation, request := user, "room.join", fmt.Sprintf(`{"room":%q}`, room)
	switch random.IntN(5) {
	case 0:
		operation = "room.leave"
	case 1:
		asker, operation, request = owner, "room.add", fmt.Sprintf(`{"room":%q,"user":%q}`, room, user)
	case 2:
		asker, operation, request = owner, "room.remove", fmt.Sprintf(`{"room":%q,"user":%q}`, room, user)
	case 3:
		m.say(user, room, key)
		return
	}
	if phone := m.phones[asker]; random.IntN(2) == 0 && phone.Up() {
		phone.Publish(Publication{Topic: "api/v1/" + operation, QoS: 1, Body: []byte(request), Queue: true})
		time.Sleep(5 * time.Millisecond)
		return
	}
	m.ask(asker, operation, request)
}

// talk sends a message, by one way or the other.
func (m *membership) talk(random *rand.Rand, user, key string) {
	room := [...]string{"since", "whole"}[random.IntN(2)]
	if phone := m.phones[user]; random.IntN(2) == 0 && phone.Up() {
		phone.Publish(Publication{Topic: "room/" + room + "/" + key, QoS: 1, Body: []byte("says " + key), Queue: true})
		time.Sleep(5 * time.Millisecond)
		return
	}
	m.say(user, room, key)
}

// say sends a message over HTTP, until that is answered.
func (m *membership) say(user, room, key string) {
	lost := false // an answer, so that a later one may be of a time when they have left
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		status, reply := m.ask(user, "send", fmt.Sprintf(`{"room":%q,"body":"says %s","idempotency_key":%q}`, room, key, key))
		switch status {
		case 0:
			lost = true
			continue
		case http.StatusOK, http.StatusCreated, http.StatusForbidden:
		default:
			m.Errorf("%s says something in %s: %d %v", user, room, status, reply)
		}
		if lost && status == http.StatusForbidden {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.said[room+" says "+key] = status
		return
	}
	m.Errorf("%s cannot say anything for %v", user, patience)
}

// agree holds everybody's inbox, device, history and search against what the owner,
// who is in the rooms all the time, has of them.
func (m *membership) agree(owner string) {
	m.Helper()
	inboxes := map[string]map[string][]Envelope{}
	for user := range m.phones {
		inboxes[user] = m.inbox(user)
	}
	for room, history := range histories {
		model := apitest.NewMembership(owner)
		times := map[string]int{}
		changes := 0
		for _, e := range inboxes[owner][room] {
			if e.Event == "created" {
				continue
			}
			if err := model.Take(apitest.RoomEntry{Type: e.Type, From: e.From, Event: e.Event, User: e.User, Seq: e.Seq, Line: roomLine(e)}); err != nil {
				m.Errorf("%s: %v", room, err)
			}
			if e.Type == "room" {
				changes++
			} else {
				times[room+" "+*e.Body]++
			}
		}
		m.Logf("%s: %d messages, %d changes", room, model.Last, changes)
		if model.Last < 20 || changes < 10 {
			m.Errorf("%s: %d messages and %d changes show nothing", room, model.Last, changes)
		}
		m.answersAgree(room, times)
		for user := range m.phones {
			if user == owner {
				continue
			}
			m.same(user+"'s inbox of "+room, roomLines(inboxes[user][room]), model.Sees[user])
			m.readable(model, user, room, history)
		}
	}
	for user, ledger := range m.ledgers {
		all := inboxes[user][""]
		ledger.WaitFor(m, int64(len(all)))
		ledger.Check(m)
		m.same(user+"'s phone", roomLines(ledger.Entries()), roomLines(all))
	}
}

// answersAgree holds what was answered to those who sent over HTTP against what is
// there, and how often.
func (m *membership) answersAgree(room string, times map[string]int) {
	m.Helper()
	for body, n := range times {
		if n != 1 {
			m.Errorf("%q is there %d times", body, n)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for body, status := range m.said {
		if body[:len(room)] == room && (status != http.StatusForbidden) != (times[body] == 1) {
			m.Errorf("%q was answered with %d, and is there %d times", body, status, times[body])
		}
	}
}

// inbox is all of a user's inbox by rooms, and all of it under no name.
func (m *membership) inbox(user string) map[string][]Envelope {
	m.Helper()
	all := map[string][]Envelope{}
	for after, complete := 0, false; !complete; {
		reply := m.must(user, "sync", fmt.Sprintf(`{"after":%d,"limit":500}`, after))
		for _, e := range envelopesOf(m, reply["entries"]) {
			if after++; e.InboxSeq != int64(after) {
				m.Errorf("entry %d of %s has the number %d", after, user, e.InboxSeq)
			}
			all[""] = append(all[""], e)
			if e.Room != "" {
				all[e.Room] = append(all[e.Room], e)
			}
		}
		complete = reply["complete"] == true
	}
	return all
}

// readable holds what a user reads and finds of a room against the model.
func (m *membership) readable(model *apitest.Membership, user, room, history string) {
	m.Helper()
	var due, read []int64
	for seq := int64(1); seq <= model.Last; seq++ {
		if model.May(user, history, seq) {
			due = append(due, seq)
		}
	}
	was := len(model.Spans[user]) > 0
	for after, more := int64(0), was; more; {
		reply := m.must(user, "history", fmt.Sprintf(`{"room":%q,"after":%d,"limit":500}`, room, after))
		for _, e := range envelopesOf(m, reply["messages"]) {
			read, after = append(read, e.Seq), e.Seq
		}
		more = reply["has_after"] == true
	}
	if !slices.Equal(read, due) {
		m.Errorf("%s reads %v of %s, and was there %v (up to %d)", user, read, room, model.Spans[user], model.Last)
	}
	if !was {
		return
	}
	found := func() (seqs []int64) {
		for before, more := "", true; more; {
			reply := m.must(user, "search", fmt.Sprintf(`{"room":%q,"text":"says",%s"limit":500}`, room, before))
			for _, e := range envelopesOf(m, reply["messages"]) {
				seqs, before = append(seqs, e.Seq), fmt.Sprintf(`"before":%q,`, e.ID)
			}
			more = reply["has_more"] == true
		}
		slices.Sort(seqs)
		return seqs
	}
	// The index is some seconds behind; too much is found at once.
	awaitCount(m.T, fmt.Sprintf("%s to find what they may read of %s", user, room), func() bool {
		seqs := found()
		for _, seq := range seqs {
			if !slices.Contains(due, seq) {
				m.Fatalf("%s finds message %d of %s, and was there %v", user, seq, room, model.Spans[user])
			}
		}
		return len(seqs) == len(due)
	})
}

func (m *membership) same(what string, got, want []string) {
	m.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			m.Errorf("%s has %d entries, want %d; from %d on: %q, want %q", what, len(got), len(want), i+1, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
			return
		}
	}
}

func roomLines(entries []Envelope) (lines []string) {
	for _, e := range entries {
		lines = append(lines, roomLine(e))
	}
	return lines
}

// roomLine is what everybody gets alike of an entry.
func roomLine(e Envelope) string {
	body := ""
	if e.Body != nil {
		body = *e.Body
	}
	return fmt.Sprint(e.Type, " ", e.Seq, " ", e.From, " ", e.Event, " ", e.User, " ", e.Role, " ", body)
}

func envelopesOf(t testing.TB, list any) (all []Envelope) {
	t.Helper()
	text, err := json.Marshal(list)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}
