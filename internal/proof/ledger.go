package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"
)

// Envelope is what a device receives, SPEC §4. Fields that the contract does
// not name are a fault.
type Envelope struct {
	InboxSeq       int64           `json:"inbox_seq"`
	After          *int64          `json:"after"`
	Next           int64           `json:"next"` // gap
	Epoch          string          `json:"epoch"`
	Type           string          `json:"type"`
	ID             string          `json:"id"`
	From           string          `json:"from"`
	To             string          `json:"to"`
	Room           string          `json:"room"`
	Event          string          `json:"event"` // room: this and the five below
	User           string          `json:"user"`
	Role           string          `json:"role"`
	Title          string          `json:"title"`
	Public         bool            `json:"public"`
	History        string          `json:"history"`
	Seq            int64           `json:"seq"`
	SentAt         string          `json:"sent_at"`
	ContentType    string          `json:"content_type"`
	Ref            json.RawMessage `json:"ref"`
	Body           *string         `json:"body"`
	BodyBase64     *string         `json:"body_base64"`
	IdempotencyKey string          `json:"idempotency_key"`
	Device         string          `json:"device"`
	Code           string          `json:"code"`    // error, gap
	Topic          string          `json:"topic"`   // error
	Message        string          `json:"message"` // error
	TooLarge       int64           `json:"too_large"`
}

// Payload is the body as it was sent.
func (e Envelope) Payload() ([]byte, error) {
	switch {
	case e.Body != nil && e.BodyBase64 != nil:
		return nil, fmt.Errorf("entry %d has both body and body_base64", e.InboxSeq)
	case e.Body != nil:
		return []byte(*e.Body), nil
	case e.BodyBase64 != nil:
		return base64.StdEncoding.DecodeString(*e.BodyBase64)
	}
	return nil, fmt.Errorf("entry %d has neither body nor body_base64", e.InboxSeq)
}

// Ledger is what one device received, checked as it comes. All methods are
// safe for concurrent use.
type Ledger struct {
	Name string
	// Keep makes Deliveries available; set it before the first Add.
	Keep bool
	// Rooms takes changes of rooms as entries, too; set it before the first Add.
	Rooms bool

	mu      sync.Mutex
	changed chan struct{}
	first   int64 // inbox_seq of the first entry; 0 before it
	entries []Envelope
	raw     []Delivery // of entries
	others  []Envelope // error, gap: without a number
	repeats int
	faults  []string
}

// NewLedger makes the ledger of a device that is owed its inbox from the entry
// after `after`: 0 for one that subscribed to an empty inbox.
func NewLedger(name string, after int64) *Ledger {
	return &Ledger{Name: name, first: after + 1, changed: make(chan struct{})}
}

func (l *Ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, l.Name+": "+fmt.Sprintf(format, args...))
}

// Add takes a delivery.
func (l *Ledger) Add(d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		close(l.changed)
		l.changed = make(chan struct{})
	}()
	var e Envelope
	dec := json.NewDecoder(bytes.NewReader(d.Body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		l.fault("payload %.200q: %v", d.Body, err)
		return
	}
	if d.Retain {
		l.fault("entry %d came with RETAIN", e.InboxSeq)
	}
	switch {
	case e.Type == "error", e.Type == "gap":
		l.others = append(l.others, e)
	case e.Type == "message", e.Type == "room" && l.Rooms:
		l.entry(e, d)
	default:
		l.fault("type %q is not expected here", e.Type)
	}
}

// entry checks the order: the next number, or a repeat that equals what was
// there before.
func (l *Ledger) entry(e Envelope, d Delivery) {
	next := l.first + int64(len(l.entries))
	switch {
	case e.InboxSeq == next:
		if e.After != nil && *e.After != next-1 {
			l.fault("entry %d says after %d", e.InboxSeq, *e.After)
		}
		if n := len(l.entries); n > 0 && l.entries[n-1].Epoch != e.Epoch {
			l.fault("entry %d is of epoch %s, the one before of %s", e.InboxSeq, e.Epoch, l.entries[n-1].Epoch)
		}
		l.append(e, d)
	case e.InboxSeq > next:
		l.fault("a hole: entry %d came where %d was due", e.InboxSeq, next)
		// Go on behind the hole, so that one hole is one fault.
		for ; next < e.InboxSeq; next++ {
			l.append(Envelope{InboxSeq: next, Type: "hole"}, Delivery{})
		}
		l.append(e, d)
	case e.InboxSeq < l.first:
		l.fault("entry %d is older than the first one due, %d", e.InboxSeq, l.first)
	default:
		l.repeats++
		before := l.entries[e.InboxSeq-l.first]
		before.After, e.After = nil, nil
		if !reflect.DeepEqual(before, e) {
			l.fault("entry %d came again and differs: %+v, before %+v", e.InboxSeq, e, before)
		}
	}
}

func (l *Ledger) append(e Envelope, d Delivery) {
	l.entries = append(l.entries, e)
	if l.Keep {
		l.raw = append(l.raw, d)
	}
}

// Entries are the entries received, without repeats.
func (l *Ledger) Entries() []Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// Deliveries are the deliveries that Entries came in, if Keep is set.
func (l *Ledger) Deliveries() []Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.raw)
}

// Others are the error and gap envelopes.
func (l *Ledger) Others() []Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.others)
}

// Repeats counts the entries that came more than once.
func (l *Ledger) Repeats() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.repeats
}

// Faults are the breaches of the contract seen so far.
func (l *Ledger) Faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.faults)
}

// Last is the number of the last entry received.
func (l *Ledger) Last() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + int64(len(l.entries)) - 1
}

// until waits until cond, called with l.mu held, is true. The limit counts
// from the last delivery.
func (l *Ledger) until(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for {
		l.mu.Lock()
		ok, changed := cond(), l.changed
		last := l.first + int64(len(l.entries)) - 1
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-time.After(limit):
			t.Fatalf("device %s: no %s: nothing came for %v after entry %d; faults: %v", l.Name, what, limit, last, l.Faults())
		}
	}
}

// WaitFor waits until entry n has come; silence of a minute fails the test.
func (l *Ledger) WaitFor(t testing.TB, n int64) {
	t.Helper()
	l.until(t, patience, fmt.Sprintf("entry %d", n), func() bool { return l.first+int64(len(l.entries)) > n })
}

// WaitOther waits for the n-th error or gap envelope and returns it.
func (l *Ledger) WaitOther(t testing.TB, n int) Envelope {
	t.Helper()
	l.until(t, patience, fmt.Sprintf("error or gap envelope number %d", n), func() bool { return len(l.others) >= n })
	return l.Others()[n-1]
}

// Check reports all faults.
func (l *Ledger) Check(t testing.TB) {
	t.Helper()
	faults := l.Faults()
	for _, f := range faults[:min(len(faults), 5)] {
		t.Error(f)
	}
	if len(faults) > 5 {
		t.Errorf("%s: and %d more faults", l.Name, len(faults)-5)
	}
}
