package inbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"postbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The users of the tests, and their numbers.
const (
	alice postbox.UserID = 1
	bob   postbox.UserID = 2
	carol postbox.UserID = 3
)

var userIDs = map[postbox.User]postbox.UserID{"alice": alice, "bob": bob, "carol": carol}

var errAway = fmt.Errorf("connection refused: %w", postbox.ErrUnavailable)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// bubble runs a test with a clock of its own, which goes on when everything
// waits; synctest.Wait in it waits until everything does.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// rest lets time pass, and then everything come to rest.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// database is what the store does, in memory: Appender, Router and Reader.
type database struct {
	mu     sync.Mutex                          // guards all below
	logs   map[postbox.UserID][]*postbox.Entry // index: number less one; nil: removed by retention
	seqs   map[postbox.ConversationID]postbox.Seq
	keys   map[string]postbox.Stored
	routes map[postbox.RouteKey]int // how often asked for
	rooms  map[postbox.Room]*postbox.Members

	batches [][]string // bodies of each committed batch
	opened  []postbox.OpenPublish
	closed  []postbox.OpenPublish
	tries   int // calls of Append

	saved map[postbox.DeviceID]postbox.InboxSeq
	marks map[postbox.UserID]postbox.InboxSeq
	saves [][]postbox.CursorSave
	reads int           // calls of Entries
	pages time.Duration // what each of them takes; not changed once there is a device

	failAppend func(b *postbox.Batch) error
	failChange func(c *postbox.Change) error
	failRoutes func() error
	failHead   func() error
	failRead   func() error
	failSave   func() error

	inAppend chan struct{} // if not nil: a token for each Append that may go on
}

func newDatabase() *database {
	return &database{
		logs: make(map[postbox.UserID][]*postbox.Entry), seqs: make(map[postbox.ConversationID]postbox.Seq),
		keys: make(map[string]postbox.Stored), routes: make(map[postbox.RouteKey]int),
		saved: make(map[postbox.DeviceID]postbox.InboxSeq), marks: make(map[postbox.UserID]postbox.InboxSeq),
	}
}

// set changes the database's behaviour.
func (d *database) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// add appends an entry to an inbox and returns its number.
func (d *database) add(user postbox.UserID, m *postbox.Message) *postbox.Entry {
	e := &postbox.Entry{InboxSeq: postbox.InboxSeq(len(d.logs[user]) + 1), Message: m, Own: m.Sender == user}
	d.logs[user] = append(d.logs[user], e)
	return e
}

// remove is retention: the first n entries of an inbox go.
func (d *database) remove(user postbox.UserID, from, to postbox.InboxSeq) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := from; n <= to; n++ {
		d.logs[user][n-1] = nil
	}
}

func fault(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// Append implements Appender.
func (d *database) Append(ctx context.Context, b *postbox.Batch) error {
	d.mu.Lock()
	gate := d.inAppend
	d.tries++
	d.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return fmt.Errorf("append: %w", ctx.Err())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failAppend != nil {
		if err := d.failAppend(b); err != nil {
			return err
		}
	}
	var bodies []string
	for _, p := range b.Publishes {
		m := p.Message
		key := fmt.Sprint(m.Sender, " ", m.Key)
		if used, ok := d.keys[key]; ok && m.Key != "" {
			p.Used = &used
			continue
		}
		d.seqs[m.Conversation]++
		m.Seq = d.seqs[m.Conversation]
		p.InboxSeq = d.add(m.Sender, m).InboxSeq
		p.InboxSeqs = nil
		for _, r := range p.Recipients {
			p.InboxSeqs = append(p.InboxSeqs, d.add(r, m).InboxSeq)
		}
		if m.Key != "" {
			d.keys[key] = postbox.Stored{ID: m.ID, Seq: m.Seq, InboxSeq: p.InboxSeq, Digest: p.Digest}
		}
		bodies = append(bodies, string(m.Body))
	}
	d.batches = append(d.batches, bodies)
	d.opened, d.closed = append(d.opened, b.Opened...), append(d.closed, b.Closed...)
	return nil
}

// Routes implements Router. It knows the users of the tests.
func (d *database) Routes(_ context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := fault(d.failRoutes); err != nil {
		return nil, err
	}
	routes := make([]postbox.Route, len(keys))
	for i, k := range keys {
		d.routes[k]++
		if m := d.rooms[k.Room]; m != nil {
			if !slices.Contains(m.Users, k.Sender) {
				routes[i].Refusal = postbox.Errorf(postbox.CodeNotFound, "there is no room %s", k.Room)
				continue
			}
			routes[i] = postbox.Route{Conversation: 1000, Room: m}
			continue
		}
		to, ok := userIDs[k.To]
		if !ok {
			routes[i].Refusal = postbox.Errorf(postbox.CodeNotFound, "there is no user %s", k.To)
			continue
		}
		routes[i].Conversation = postbox.ConversationID(100*min(to, k.Sender) + max(to, k.Sender))
		if to != k.Sender {
			routes[i].Recipients = []postbox.UserID{to}
		}
	}
	return routes, nil
}

// Decide implements Router. It refuses all changes of rooms.
func (d *database) Decide(_ context.Context, c *postbox.Change) error {
	c.Refusal = postbox.Errorf(postbox.CodeNotFound, "there is no room %s", c.Event.Room)
	return nil
}

// Head implements Reader.
func (d *database) Head(_ context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return postbox.InboxSeq(len(d.logs[user])), fault(d.failHead)
}

// Entries implements Reader.
func (d *database) Entries(_ context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	time.Sleep(d.pages)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	if err := fault(d.failRead); err != nil {
		return nil, err
	}
	log := d.logs[user]
	if upTo > postbox.InboxSeq(len(log)) || after > upTo {
		return nil, fmt.Errorf("asked for %d…%d of %d entries", after, upTo, len(log))
	}
	var page []*postbox.Entry
	for _, e := range log[after:upTo] {
		if e != nil && len(page) < limit {
			copied := *e // as from a database
			page = append(page, &copied)
		}
	}
	return page, nil
}

// SaveCursors implements Reader.
func (d *database) SaveCursors(_ context.Context, saves []postbox.CursorSave) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saves = append(d.saves, slices.Clone(saves))
	if err := fault(d.failSave); err != nil {
		return err
	}
	for _, s := range saves {
		if s.Device != 0 {
			d.saved[s.Device] = max(d.saved[s.Device], s.Cursor)
		}
		d.marks[s.User] = max(d.marks[s.User], s.Cursor)
	}
	return nil
}

func (d *database) head(user postbox.UserID) postbox.InboxSeq {
	d.mu.Lock()
	defer d.mu.Unlock()
	return postbox.InboxSeq(len(d.logs[user]))
}

// cursor is what is saved of a device.
func (d *database) cursor(device postbox.DeviceID) postbox.InboxSeq {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved[device]
}

// committed are the bodies of all batches, in the order of commits.
func (d *database) committed() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.batches)
}

// origin is a connection that remembers what it is told.
type origin struct {
	mu      sync.Mutex // guards the fields below
	settled []*Draft
	flushed int // how many were settled at the last Flush
}

// Settled implements Origin.
func (o *origin) Settled(d *Draft) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.settled = append(o.settled, d)
}

// Flush implements Origin.
func (o *origin) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushed = len(o.settled)
}

// outcomes are what the connection was told, in order: a body, with what
// became of it if it was not stored. It fails if something was not flushed.
func (o *origin) outcomes() (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.settled {
		what := "release"
		if d.Publish.Message != nil {
			what = string(d.Publish.Message.Body)
		}
		switch {
		case d.Refusal != nil:
			what += ": " + string(d.Refusal.Code)
		case d.Duplicate:
			what += fmt.Sprintf(": duplicate of %d", d.Stored.Seq)
		}
		all = append(all, what)
	}
	if o.flushed != len(o.settled) {
		all = append(all, "not flushed")
	}
	return all
}

// letter is a draft of a message.
func letter(o Origin, from postbox.UserID, to postbox.User, body string) *Draft {
	var id postbox.MessageID
	copy(id[:], fmt.Sprint(from, to, body))
	return &Draft{Origin: o, To: to, Publish: postbox.Publish{
		Message: &postbox.Message{ID: id, Sender: from, To: to, Body: []byte(body)},
		Digest:  postbox.DigestOf(string(to), "", "", 0, []byte(body)),
	}}
}

// key gives a draft an idempotency key.
func key(d *Draft, k string) *Draft {
	d.Publish.Message.Key = k
	return d
}

var errBroken = errors.New("pq: value too long for the secret column")

// Change implements Appender: an entry for each recipient that the change
// names already.
func (d *database) Change(_ context.Context, c *postbox.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failChange != nil {
		if err := d.failChange(c); err != nil {
			return err
		}
	}
	d.batches = append(d.batches, []string{c.Type.String()})
	if c.Refusal != nil {
		return nil
	}
	for _, r := range c.Recipients {
		e := &postbox.Entry{InboxSeq: postbox.InboxSeq(len(d.logs[r]) + 1), Type: c.Type, Event: &c.Event, Own: r == c.Actor}
		d.logs[r] = append(d.logs[r], e)
		c.InboxSeqs = append(c.InboxSeqs, e.InboxSeq)
	}
	return nil
}
