package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"postbox"
)

// Reader reads what has been committed.
type Reader interface {
	// Head is the number of a user's last entry; zero if there is none.
	Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error)
	// Entries reads at most limit entries after `after` and up to `upTo`, in
	// order. They show the present state of their messages.
	Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error)
	// SaveCursors saves progress; a cursor that is behind the saved one
	// changes nothing.
	SaveCursors(ctx context.Context, saves []postbox.CursorSave) error
}

// readers is how many pages are read from the database at once for devices
// that are behind, so that many of them coming back leave room for senders.
const readers = 4

// wakes is how many mailboxes are woken before others have their turn.
const wakes = 8

// Hub knows the mailbox of every user who has a device connected. Its methods
// may be called from any goroutine.
type Hub struct {
	reader  Reader
	epoch   postbox.Epoch
	log     *slog.Logger
	saver   saver
	reads   chan struct{} // a slot for each page being read
	rests   chan struct{} // and for each device that reads much, or rests after a page
	held    atomic.Int64  // bytes of entries in tails and pages
	ctx     context.Context
	cancel  context.CancelFunc
	work    crew
	metrics hubMetrics
	// Receipts hears what has come to devices; nil: nobody does. It is set before
	// the first Subscribe.
	Receipts *Receipts
	// Waiting tells how many drafts wait to be committed, in all lanes; nil: nobody
	// tells. It is set before the first Subscribe.
	Waiting func() int

	mu    sync.RWMutex // guards boxes; taken before a mailbox's lock
	boxes map[postbox.UserID]*mailbox
}

// NewHub makes a hub for the time of one epoch; Start runs it.
func NewHub(r Reader, epoch postbox.Epoch, log *slog.Logger) *Hub {
	h := &Hub{
		reader: r, epoch: epoch, log: log,
		reads: make(chan struct{}, readers), rests: make(chan struct{}, readers), boxes: make(map[postbox.UserID]*mailbox), metrics: newHubMetrics(),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.saver.reader = r
	h.saver.log = log
	h.saver.metrics = &h.metrics
	return h
}

// Start runs the goroutines that save cursors, about once a second, and that
// look after the memory.
func (h *Hub) Start() {
	h.work.spawn(func() { h.reclaim(h.ctx) })
	h.work.spawn(func() { h.saver.run(h.ctx) })
}

// Shutdown ends all reading and saves what cursors are left. It is safe to
// call twice. When ctx ends first nothing is saved, and what still reads ends by
// itself, as soon as the Reader heeds its context.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.cancel()
	if err := h.work.dismiss(ctx); err != nil {
		return fmt.Errorf("wait for the end of reading: %w", err)
	}
	return h.saver.save(ctx)
}

// Start says where a subscription begins.
type Start struct {
	// AtEnd begins after the last entry there is.
	AtEnd bool
	// After begins after this number, when AtEnd is false.
	After postbox.InboxSeq
	// Lost, when set, is told to the device first, as a gap between After and
	// where it begins. Until it has acknowledged that, its cursor is not saved.
	Lost postbox.Code
	// Resumed marks the first window with Dup: it may have been sent before.
	Resumed bool
}

// Device is a device that subscribes.
type Device struct {
	User    postbox.UserID
	ID      postbox.DeviceID // zero without a session
	Name    string           // the client id, for No Local
	QoS     byte             // 0 or 1
	NoLocal bool
	Window  int // deliveries that may be unacknowledged, at QoS 1
}

// Subscribe attaches a device to its user's mailbox. Nothing is delivered
// before the first Resume, so that the caller can acknowledge the subscription
// first. It reads the database, and fails when that is away.
func (h *Hub) Subscribe(ctx context.Context, d Device, at Start, out Outlet) (*Subscription, error) {
	s := &Subscription{hub: h, device: d, outlet: out}
	box := h.attach(s)
	head, err := box.loadHead(ctx, h.reader)
	if err != nil {
		s.Close()
		return nil, err
	}
	if !at.AtEnd && at.After > head {
		// The device may know of entries that have not come here yet.
		if head, err = h.reader.Head(ctx, d.User); err != nil {
			s.Close()
			return nil, err
		}
	}
	start := at.After
	if saved, ok := h.saver.unsaved(d.User, d.ID); ok && !at.AtEnd && at.Resumed && at.Lost == "" {
		start = max(start, saved)
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	s.cursor = start
	if at.AtEnd {
		s.cursor = max(head, box.head)
	}
	s.next, s.handed, s.born = s.cursor+1, s.cursor, max(head, box.head)
	if at.Lost != "" {
		s.lost, s.handed = at.Lost, at.After
	}
	if at.After > max(head, box.head) && !at.AtEnd {
		// The device is ahead of its inbox: it knows another lineage.
		s.cursor = max(head, box.head)
		s.lost, s.next, s.handed = postbox.CodeEpochChanged, s.cursor+1, s.cursor
	}
	s.unheard = s.lost
	if at.Resumed {
		s.dupUpTo = s.cursor + postbox.InboxSeq(d.Window)
	}
	return s, nil
}

func (h *Hub) attach(s *Subscription) *mailbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	box := h.boxes[s.device.User]
	if box == nil {
		box = &mailbox{hub: h, user: s.device.User}
		h.boxes[s.device.User] = box
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	s.box = box
	box.subs = append(box.subs, s)
	return box
}

// detach removes a subscription, and its mailbox with the last one.
func (h *Hub) detach(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.remove(s)
	if len(s.box.subs) == 0 {
		s.box.dropTail(len(s.box.tail))
		delete(h.boxes, s.box.user)
	}
}

// deliver hands the new entries of a group to the mailboxes that are there.
// Each is woken once, after all of its entries are in. The lock is held while
// mailboxes are looked up, those of one draft at a time, and not while entries
// are made and handed on; for who is not connected nothing is made.
func (h *Hub) deliver(group []*Draft, posts []post) []post {
	posts = posts[:0]
	for _, d := range group {
		if d.Refusal == nil && !d.Duplicate && (d.Action == Append || d.Action == Amend) {
			posts = h.postsOf(d, posts)
		}
	}
	touched := 0
	for i := range posts {
		if posts[i].box.add(posts[i].entry()) {
			posts[touched].box = posts[i].box
			touched++
		}
	}
	for i, p := range posts[:touched] {
		p.box.wake()
		if i%wakes == wakes-1 {
			// Each that was woken has something to write. Who came meanwhile does not
			// wait behind all of a large room.
			runtime.Gosched()
		}
	}
	return posts
}

// postsOf lists the new entries of a draft for those who are connected, each
// inbox's in order.
func (h *Hub) postsOf(d *Draft, posts []post) []post {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.boxes) == 0 {
		return posts
	}
	users, numbers := d.Publish.Recipients, d.Publish.InboxSeqs
	if d.Action == Amend {
		users, numbers = d.Change.Recipients, d.Change.InboxSeqs
	} else if box := h.boxes[d.Publish.Message.Sender]; box != nil {
		posts = append(posts, post{d, box, d.Publish.InboxSeq})
	}
	for i, u := range users {
		if box := h.boxes[u]; box != nil {
			posts = append(posts, post{d, box, numbers[i]})
		}
	}
	return posts
}

// Reread forgets what it holds of entries, so that devices which have not been
// sent them yet get what the database then has: after something was erased. What
// is being committed meanwhile stays.
func (h *Hub) Reread() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, box := range h.boxes {
		box.mu.Lock()
		box.dropTail(len(box.tail))
		for _, s := range box.subs {
			s.dropPage()
			s.ahead.stale = s.ahead.reading
			s.pump()
		}
		box.mu.Unlock()
	}
}

// Look has the end of the inbox of these users, without any of everybody, looked up
// in the database if they are connected, within about a second: entries were stored there that no lane knows of.
// It does not wait for it.
func (h *Hub) Look(users ...postbox.UserID) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, user := range users {
		if box := h.boxes[user]; box != nil {
			box.doubt()
		}
	}
	if len(users) > 0 {
		return
	}
	for _, box := range h.boxes {
		box.doubt()
	}
}

// FlushCursors saves all progress now.
func (h *Hub) FlushCursors(ctx context.Context) error { return h.saver.save(ctx) }

// enter waits for a slot, and reports false when the hub has shut down.
func (h *Hub) enter(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-h.ctx.Done():
		return false
	}
}

// pause waits, and reports false when the hub has shut down.
func (h *Hub) pause(d time.Duration) bool {
	select {
	case <-h.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
