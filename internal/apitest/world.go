// Package apitest is what the tests of the operations share: a small world in
// memory behind the interfaces of package api, a transport that holds every
// HTTP response against the OpenAPI document, and requests made from that
// document. The latter two run against a real server just as well.
package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"postbox"
	"postbox/api"
)

// Epoch is the one in force in a World, Before one that was.
const (
	Epoch  postbox.Epoch = "k3f9"
	Before postbox.Epoch = "j2e8"
)

// World is users, messages and inboxes in memory: all interfaces of package api.
// Its exported fields may be changed under Lock.
type World struct {
	sync.Mutex
	Users map[postbox.User]*Person
	Talks map[string]*Conversation
	Rooms map[postbox.Room][]postbox.User
	// Fail, when set, is asked before everything; an error is the answer.
	Fail func() error
	// Announced are the read markers that came as changes.
	Announced []*postbox.Change
	// Left are read markers that an earlier server has not announced.
	Left []api.Unannounced
	// Sent are the signals.
	Sent []*postbox.Signal
	// WasAhead counts the clients that knew more than there is.
	WasAhead int
	// Invited are the invitations.
	Invited []postbox.Invite

	used  map[string]used
	news  chan struct{} // closed and replaced when an inbox grows
	clock time.Time
	seen  int // conversations made

	granted int // tokens
}

// Person is a user.
type Person struct {
	postbox.Profile
	ID      postbox.UserID
	Blocks  []postbox.User
	Devices []postbox.DeviceState
	Inbox   []*postbox.Entry // nil: removed by retention
	Online  bool

	Disabled bool
	Logins   []postbox.LoginState
}

// Conversation is a conversation.
type Conversation struct {
	ID       postbox.ConversationID
	Users    []postbox.User
	Room     postbox.Room
	Messages []*postbox.Message
	Read     map[postbox.User]postbox.Seq
}

// used is what an idempotency key stands for.
type used struct {
	stored postbox.Stored
	change *postbox.Change
}

// NewWorld makes a world of these users and no messages, and a room "dev" of all
// of them.
func NewWorld(users ...postbox.User) *World {
	w := &World{
		Users: make(map[postbox.User]*Person), Talks: make(map[string]*Conversation),
		Rooms: map[postbox.Room][]postbox.User{"dev": users},
		used:  make(map[string]used), news: make(chan struct{}),
		clock: time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC),
	}
	for i, name := range users {
		w.Users[name] = &Person{
			Profile: postbox.Profile{Name: name, Receipts: true, Accept: "everyone"}, ID: postbox.UserID(i + 1),
		}
	}
	return w
}

// Caller is a user as an edge names one.
func (w *World) Caller(name postbox.User, edge api.Edge) api.Caller {
	w.Lock()
	defer w.Unlock()
	return api.Caller{ID: w.Users[name].ID, Name: name, Admin: w.Users[name].Admin, Edge: edge}
}

// Options are the options of an API on this world.
func (w *World) Options() api.Options {
	return api.Options{
		Writer: w, Archive: w, Inbox: w, People: w, Devices: w, Presence: presence{w}, Markers: w, Rooms: rooms{w}, Signals: w,
		SignIn: w, Logins: w, Directory: directory{w}, Invites: directory{w}, Erasure: w, Epoch: Epoch,
		Limits: api.Limits{Body: 64 << 10, Ref: 4 << 10, Request: 256 << 10},
	}
}

// begin locks the world, unless it fails.
func (w *World) begin(ctx context.Context) error {
	w.Lock()
	fail := w.Fail
	w.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ask the world: %w", err)
	}
	w.Lock()
	return nil
}

func (w *World) person(id postbox.UserID) *Person {
	for _, p := range w.Users {
		if p.ID == id {
			return p
		}
	}
	panic(fmt.Sprintf("no user %d", id))
}

func (w *World) now() time.Time {
	w.clock = w.clock.Add(time.Second)
	return w.clock
}

// between finds or makes a conversation.
func (w *World) between(a, b postbox.User, room postbox.Room, create bool) *Conversation {
	users := []postbox.User{a, b}
	slices.Sort(users)
	name := string(users[0]) + " " + string(users[1])
	if room != "" {
		name, users = "room "+string(room), w.Rooms[room]
	}
	c := w.Talks[name]
	if c == nil && create {
		w.seen++
		c = &Conversation{
			ID: postbox.ConversationID(100 + w.seen), Users: slices.Compact(users), Room: room, Read: make(map[postbox.User]postbox.Seq),
		}
		w.Talks[name] = c
	}
	return c
}

// append puts an entry into the inboxes of all in a conversation, and returns
// who they are and the numbers there.
func (w *World) append(users []postbox.User, from postbox.User, e postbox.Entry) (ids []postbox.UserID, numbers []postbox.InboxSeq) {
	for _, name := range users {
		p, copied := w.Users[name], e
		copied.InboxSeq, copied.Own = postbox.InboxSeq(len(p.Inbox)+1), name == from
		p.Inbox = append(p.Inbox, &copied)
		ids, numbers = append(ids, p.ID), append(numbers, copied.InboxSeq)
	}
	close(w.news)
	w.news = make(chan struct{})
	return ids, numbers
}
