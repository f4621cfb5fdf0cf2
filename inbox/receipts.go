package inbox

import (
	"context"
	"sync"
	"time"

	"postbox"
)

// Acquaintances knows who may hear of receipts.
type Acquaintances interface {
	// Tellable picks those that their receivers may know of, and says what users
	// are called.
	Tellable(ctx context.Context, all []postbox.Receipt) ([]postbox.Receipt, error)
}

const (
	// receiptsEvery is how often a user is told how far a conversation has got.
	receiptsEvery = 300 * time.Millisecond
	// maxReceipts bounds the conversations that are remembered, and that wait.
	maxReceipts = 100_000
	// receiptsTimeout bounds the look at who may be told.
	receiptsTimeout = 5 * time.Second
)

// Receipts tells senders that listen to signals how far their direct messages
// have got (docs/spec.md §4, delivered): the latest of each conversation, a few
// times a second, and nothing to those who do not listen.
type Receipts struct {
	signals *Signals
	known   Acquaintances
	soon    chan struct{}

	mu   sync.Mutex // guards the fields below; may be taken under a mailbox's lock
	due  map[receiptKey]postbox.Seq
	told map[receiptKey]postbox.Seq
}

type receiptKey struct{ from, to postbox.UserID }

// NewReceipts makes it; Keep runs it.
func NewReceipts(s *Signals, a Acquaintances) *Receipts {
	return &Receipts{
		signals: s, known: a, soon: make(chan struct{}, 1),
		due: make(map[receiptKey]postbox.Seq), told: make(map[receiptKey]postbox.Seq),
	}
}

// of makes the receipt of an entry that is handed to a device of a user; nil if
// nobody would hear it.
func (r *Receipts) of(user postbox.UserID, e *postbox.Entry) *postbox.Receipt {
	m := e.Message
	if r == nil || m == nil || e.Event != nil || m.Room != "" || m.Sender == user || !r.signals.Listens(m.Sender) {
		return nil
	}
	return &postbox.Receipt{FromID: user, ToID: m.Sender, Seq: m.Seq}
}

// note takes a receipt; nil is none. It does not wait.
func (r *Receipts) note(n *postbox.Receipt) {
	if r == nil || n == nil {
		return
	}
	k := receiptKey{n.FromID, n.ToID}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.Seq <= max(r.told[k], r.due[k]) || len(r.due) >= maxReceipts {
		return
	}
	r.due[k] = n.Seq
	select {
	case r.soon <- struct{}{}:
	default:
	}
}

// Keep tells receipts until ctx ends. What cannot be told at once is lost: the
// operation conversations has it.
func (r *Receipts) Keep(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-r.soon:
			r.tell(ctx)
			pause.Reset(receiptsEvery)
		}
	}
}

func (r *Receipts) tell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, receiptsTimeout)
	defer cancel()
	tellable, err := r.known.Tellable(ctx, r.take())
	if err != nil {
		return
	}
	for _, d := range tellable {
		r.signals.Tell(d.ToID, postbox.AppendDelivered(nil, d))
	}
}

// take returns what is due, and nothing the next time.
func (r *Receipts) take() []postbox.Receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]postbox.Receipt, 0, len(r.due))
	if len(r.told)+len(r.due) > maxReceipts {
		clear(r.told)
	}
	for k, seq := range r.due {
		r.told[k] = seq
		all = append(all, postbox.Receipt{FromID: k.from, ToID: k.to, Seq: seq})
	}
	clear(r.due)
	return all
}
