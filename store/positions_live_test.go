package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"postbox"
)

// Sending moves the sender's marker, and it stays moved, whether or not anybody
// looked, however much the other side writes after.
func TestSendingMovesTheMarkerForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	p := w.publish("bob", "alice", "hello")
	w.append(l, p)
	alice := func(n int) {
		t.Helper()
		group := make([]*postbox.Publish, n)
		for i := range group {
			group[i] = w.draft(p.Message.Conversation, "alice", "bob", "more")
		}
		w.append(l, group...)
	}
	alice(200)
	w.append(l, w.draft(p.Message.Conversation, "bob", "alice", "the last")) // 202
	list := func(user postbox.User) postbox.Summary {
		t.Helper()
		got, err := w.store.Conversations(t.Context(), w.ids[user], postbox.ListBound{}, 5)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		return got[0]
	}
	for range 12 {
		alice(130)
		if got := list("alice").PeerRead; got != 202 { // her look keeps nothing of his
			t.Fatalf("alice is told that bob has read up to %d, want 202", got)
		}
	}
	if got := list("bob").ReadSeq; got != 202 {
		t.Errorf("bob has read up to %d, want 202", got)
	}
	if got, moved, err := w.store.MarkRead(t.Context(), w.ids["bob"], w.place("bob", "alice"), 100); err != nil || moved || got != 202 {
		t.Errorf("marked 100: %d, %v, %v", got, moved, err)
	}
}

// bystander looks at the list of one side again and again. What it shows of
// itself and of the other side never goes back.
type bystander struct {
	user      postbox.User
	last      postbox.Summary
	delivered *atomic.Int64 // the other side's devices are known to have
	looks     int
}

func (w *world) look(b *bystander) {
	atLeast := postbox.Seq(b.delivered.Load())
	got, err := w.store.Conversations(w.t.Context(), w.ids[b.user], postbox.ListBound{}, 5)
	if err != nil || len(got) != 1 {
		w.t.Errorf("%s: %+v, %v", b.user, got, err)
		return
	}
	now := got[0]
	if now.ReadSeq < b.last.ReadSeq || now.PeerRead < b.last.PeerRead || now.PeerDelivered < b.last.PeerDelivered {
		w.t.Errorf("%s: read %d, by the other %d, delivered %d; was %d, %d, %d", b.user, now.ReadSeq, now.PeerRead, now.PeerDelivered,
			b.last.ReadSeq, b.last.PeerRead, b.last.PeerDelivered)
	}
	if now.PeerDelivered < atLeast {
		w.t.Errorf("%s: the other side has %d, told it is %d", b.user, atLeast, now.PeerDelivered)
	}
	if left := max(0, int(now.Last.Seq-now.ReadSeq)); now.Unread > left {
		w.t.Errorf("%s: %d unread of the %d after %d", b.user, now.Unread, left, now.ReadSeq)
	}
	b.last = now
	b.looks++
}

// While both sides send, read, acknowledge on two devices, and have these
// revoked, nothing that the lists show goes back; and in the end all is exact.
func TestPositionsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	seed := seedOf(t)
	const rounds = 120
	first := w.publish("alice", "bob", "first")
	w.append(w.lane(0), first, w.publish("bob", "alice", "second"))
	conversation := first.Message.Conversation
	other := map[postbox.User]postbox.User{"alice": "bob", "bob": "alice"}
	delivered := map[postbox.User]*atomic.Int64{"alice": {}, "bob": {}} // by seq
	revoked := atomic.Int64{}
	var senders, observers sync.WaitGroup
	done := make(chan struct{})
	for i, user := range []postbox.User{"alice", "bob"} {
		lane, place := w.lane(1+i), w.place(user, other[user])
		senders.Go(func() {
			for n := range rounds {
				if user == "bob" && n%12 > 0 {
					continue // his marker is moved by reading, hers by sending
				}
				if err := lane.Append(t.Context(), batch(w.draft(conversation, user, other[user], fmt.Sprint(user, n)))); err != nil {
					t.Error(err)
				}
			}
		})
		for j := range uint64(2) { // both of the user's clients read
			r := rand.New(rand.NewPCG(seed, 2*uint64(i)+j))
			senders.Go(func() {
				kept := postbox.Seq(0)
				for range rounds {
					seq := postbox.Seq(r.IntN(int(kept) + 2)) // what was read before, or all there is
					if r.IntN(2) == 0 {
						seq = 1 << 40
					}
					got, _, err := w.store.MarkRead(t.Context(), w.ids[user], place, seq)
					if err != nil || got < kept {
						t.Errorf("%s: marked %d after %d, %v", user, got, kept, err)
					}
					kept = got
				}
			})
		}
		acks := rand.New(rand.NewPCG(seed, uint64(10+i)))
		senders.Go(func() { // acknowledges, and revokes
			devices := map[string]postbox.DeviceID{}
			for range rounds {
				name := fmt.Sprint("device", acks.IntN(2))
				if devices[name] == 0 {
					devices[name] = w.session(user, name).Device
				}
				entries, err := w.store.Entries(t.Context(), w.ids[user], 0, 1<<40, 2*rounds+2)
				if err != nil {
					t.Error(err)
					return
				}
				upTo := entries[acks.IntN(len(entries))]
				// A save may be under way when the device is revoked.
				save := []postbox.CursorSave{{User: w.ids[user], Device: devices[name], Cursor: upTo.InboxSeq}}
				var both sync.WaitGroup
				both.Go(func() {
					if err := w.store.SaveCursors(t.Context(), save); err != nil {
						t.Error(err)
						return
					}
					if seq := int64(upTo.Message.Seq); seq > delivered[user].Load() {
						delivered[user].Store(seq)
					}
				})
				if acks.IntN(4) == 0 {
					both.Go(func() {
						if err := w.store.RevokeDevice(t.Context(), w.ids[user], name); err != nil && !errors.Is(err, postbox.ErrNotFound) {
							t.Error(err)
						}
						revoked.Add(1)
					})
					delete(devices, name)
				}
				both.Wait()
			}
		})
	}
	lookers := []*bystander{{user: "alice", delivered: delivered["bob"]}, {user: "bob", delivered: delivered["alice"]}}
	for _, b := range lookers {
		observers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					w.look(b)
				}
			}
		})
	}
	senders.Wait()
	close(done)
	observers.Wait()
	for _, b := range lookers {
		w.look(b)
		marked := postbox.Seq(w.number(`SELECT coalesce(max(read_seq), 0) FROM postbox.positions WHERE user_id = $1`, w.ids[b.user]))
		sent := postbox.Seq(w.number(`SELECT max(seq) FROM postbox.messages WHERE sender_id = $1`, w.ids[b.user]))
		unread := w.number(`SELECT count(*) FROM postbox.messages WHERE sender_id <> $1 AND seq > $2`, w.ids[b.user], int64(max(marked, sent)))
		if b.last.ReadSeq != max(marked, sent) || b.last.Unread != unread || int64(b.last.PeerDelivered) != b.delivered.Load() {
			t.Errorf("%s in the end: read %d, unread %d, delivered %d; want %d, %d, %d", b.user, b.last.ReadSeq, b.last.Unread, b.last.PeerDelivered,
				max(marked, sent), unread, b.delivered.Load())
		}
	}
	t.Logf("%d revocations, %d and %d looks", revoked.Load(), lookers[0].looks, lookers[1].looks)
	if revoked.Load() < 20 || lookers[0].looks < 20 || lookers[1].looks < 20 {
		t.Error("too little has happened for this to show anything")
	}
}
