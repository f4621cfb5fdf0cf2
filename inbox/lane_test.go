package inbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// office is a running lane on a database of its own.
type office struct {
	t      *testing.T
	db     *database
	hub    *Hub
	lane   *Lane
	cancel context.CancelFunc
	fenced int // calls of Fenced
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, db: newDatabase()}
	o.hub = NewHub(o.db, "now", quiet())
	o.lane = NewLane(LaneOptions{
		Appender: o.db, Router: o.db, Hub: o.hub, Logger: quiet(),
		Fenced: func() { o.fenced++ },
	})
	ctx, cancel := context.WithCancel(t.Context())
	o.cancel = cancel
	o.lane.Start(ctx)
	t.Cleanup(func() {
		cancel()
		if err := o.lane.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown of the lane: %v", err)
		}
		if err := o.hub.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown of the hub: %v", err)
		}
	})
	return o
}

func (o *office) submit(drafts ...*Draft) {
	o.t.Helper()
	for _, d := range drafts {
		if err := o.lane.Submit(d); err != nil {
			o.t.Fatal(err)
		}
	}
}

// hold makes each Append wait for a token of the returned channel; closing it
// lets all go on.
func (o *office) hold() chan struct{} {
	gate := make(chan struct{})
	o.db.set(func() { o.db.inAppend = gate })
	return gate
}

func (o *office) wantBatches(want ...[]string) {
	o.t.Helper()
	if diff := cmp.Diff(want, o.db.committed()); diff != "" {
		o.t.Errorf("batches: -want +got:\n%s", diff)
	}
}

func wantOutcomes(t *testing.T, o *origin, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, o.outcomes()); diff != "" {
		t.Errorf("settled: -want +got:\n%s", diff)
	}
}

// An idle lane commits a single message at once; what comes meanwhile is one
// group.
func TestGroupCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		began := time.Now()
		var phone, laptop origin
		o.submit(letter(&phone, alice, "bob", "1"))
		synctest.Wait()
		o.submit(letter(&phone, alice, "bob", "2"), letter(&laptop, alice, "bob", "3"), letter(&phone, alice, "bob", "4"))
		synctest.Wait()
		wantOutcomes(t, &phone)
		gate <- struct{}{}
		synctest.Wait()
		wantOutcomes(t, &phone, "1")
		wantOutcomes(t, &laptop)
		gate <- struct{}{}
		synctest.Wait()
		wantOutcomes(t, &phone, "1", "2", "4")
		wantOutcomes(t, &laptop, "3")
		o.wantBatches([]string{"1"}, []string{"2", "3", "4"})
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited for %v", waited)
		}
	})
}

// A lane rests after a commit if it is asked to, not after one of few, and never for
// long.
func TestLaneRests(t *testing.T) {
	for name, test := range map[string]struct{ drafts, rest, want time.Duration }{
		"few":     {Pressed - 1, time.Second, 0},
		"many":    {Pressed, 100 * time.Millisecond, 100 * time.Millisecond},
		"no rest": {Pressed, 0, 0},
		"long":    {Pressed, time.Hour, maxRest},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t)
				o.lane.o.Rest = func(took time.Duration) time.Duration {
					if took != 4*time.Millisecond {
						t.Errorf("the commit took %v", took)
					}
					return test.rest
				}
				var one origin
				gate := o.hold()
				o.submit(letter(&one, alice, "bob", "first"))
				synctest.Wait()
				for range test.drafts {
					o.submit(letter(&one, alice, "bob", "x"))
				}
				gate <- struct{}{}
				synctest.Wait() // the many are being committed
				o.submit(letter(&one, alice, "bob", "last"))
				time.Sleep(4 * time.Millisecond)
				began := time.Now()
				close(gate)
				for len(one.outcomes()) < int(test.drafts)+2 {
					time.Sleep(time.Millisecond)
				}
				if waited := time.Since(began); waited < test.want || waited > test.want+5*time.Millisecond {
					t.Errorf("the next commit came after %v, want %v", waited, test.want)
				}
			})
		})
	}
}

func TestGroupsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var phone origin
		o.submit(letter(&phone, alice, "bob", "first"))
		synctest.Wait()
		const many = 2*maxBatch + 10
		for i := range many {
			o.submit(letter(&phone, alice, "bob", fmt.Sprint(i)))
		}
		large := make([]byte, maxBatchBytes/3)
		for range 5 {
			d := letter(&phone, alice, "bob", "large")
			d.Publish.Message.Body = large
			o.submit(d)
		}
		close(gate)
		synctest.Wait()
		var sizes []int
		for _, b := range o.db.committed() {
			sizes = append(sizes, len(b))
		}
		// The last group of small ones takes large ones until it is full.
		if diff := cmp.Diff([]int{1, maxBatch, maxBatch, 10 + 3, 2}, sizes); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if n := len(phone.outcomes()); n != 1+many+5 {
			t.Errorf("%d settled", n)
		}
	})
}

// Each connection is answered in the order of its publishes, whatever becomes
// of each.
func TestSettledInOrderOfSubmit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		random := rand.New(rand.NewPCG(1, 2))
		o.db.set(func() {
			o.db.failAppend = func(b *postbox.Batch) error {
				if random.IntN(5) == 0 {
					return errAway
				}
				if slices.ContainsFunc(b.Publishes, func(p *postbox.Publish) bool { return p.Message.ContentType == "bad" }) {
					return errBroken
				}
				return nil
			}
		})
		const connections, each = 10, 100
		origins := make([]origin, connections)
		var work sync.WaitGroup
		for i := range origins {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			work.Go(func() {
				for n := range each {
					d := letter(&origins[i], alice, "bob", fmt.Sprint(n))
					switch random.IntN(10) {
					case 0:
						d.To = "nobody"
					case 1:
						d.Publish.Message.ContentType = "bad"
					case 2:
						d.Refusal = postbox.ErrTooLarge // by the edge
					case 3:
						d.Publish.Message.Key = fmt.Sprint(i, n/20)
					case 4:
						d.Duplicate = true // found by the edge
					}
					if err := o.lane.Submit(d); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		if err := o.lane.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for i := range origins {
			var got []string
			for _, d := range origins[i].settled {
				got = append(got, string(d.Publish.Message.Body))
			}
			var want []string
			for n := range each {
				want = append(want, fmt.Sprint(n))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("connection %d: -want +got:\n%s", i, diff)
			}
			if origins[i].flushed != each {
				t.Errorf("connection %d: %d flushed", i, origins[i].flushed)
			}
		}
	})
}

// One bad draft refuses only its sender, and what is stored keeps its order.
func TestBadDraftIsRefusedAlone(t *testing.T) {
	for name, bad := range map[string][]int{"one": {3}, "first": {0}, "last": {9}, "some": {1, 2, 8}, "all": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t)
				gate := o.hold()
				o.db.set(func() {
					o.db.failAppend = func(b *postbox.Batch) error {
						for _, p := range b.Publishes {
							if p.Message.ContentType == "bad" {
								return errBroken
							}
						}
						return nil
					}
				})
				var phone origin
				o.submit(letter(&phone, alice, "bob", "before"))
				synctest.Wait()
				want, stored := []string{"before"}, []string{"before"}
				for i := range 10 {
					d := letter(&phone, alice, "bob", fmt.Sprint(i))
					if slices.Contains(bad, i) {
						d.Publish.Message.ContentType = "bad"
						want = append(want, fmt.Sprintf("%d: internal", i))
					} else {
						want, stored = append(want, fmt.Sprint(i)), append(stored, fmt.Sprint(i))
					}
					o.submit(d)
				}
				gate <- struct{}{}
				synctest.Wait()
				o.submit(letter(&phone, alice, "bob", "after"))
				close(gate)
				synctest.Wait()
				wantOutcomes(t, &phone, append(want, "after")...)
				if diff := cmp.Diff(append(stored, "after"), slices.Concat(o.db.committed()...)); diff != "" {
					t.Errorf("stored: -want +got:\n%s", diff)
				}
				for _, d := range phone.settled {
					if d.Refusal != nil && d.Refusal.Message != postbox.AsError(errBroken).Message {
						t.Errorf("a stranger is told the cause: %v", d.Refusal)
					}
				}
			})
		})
	}
}

// While the database is away nothing is answered, nothing is lost, and it goes
// on by itself.
func TestDatabaseAway(t *testing.T) {
	for name, away := range map[string]func(d *database, err error){
		"append": func(d *database, err error) { d.failAppend = func(*postbox.Batch) error { return err } },
		"routes": func(d *database, err error) { d.failRoutes = func() error { return err } },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t)
				o.db.set(func() { away(o.db, errAway) })
				began := time.Now()
				var phone origin
				o.submit(letter(&phone, alice, "bob", "1"), letter(&phone, alice, "bob", "2"))
				rest(10 * time.Second)
				o.submit(letter(&phone, alice, "bob", "3"))
				rest(10 * time.Second)
				wantOutcomes(t, &phone)
				if since := o.lane.AwaySince(); !since.Equal(began) {
					t.Errorf("away since %v, it is since %v", since, began)
				}
				if o.db.tries > 30 {
					t.Errorf("%d tries in 20 s", o.db.tries)
				}
				o.db.set(func() { away(o.db, nil) })
				rest(time.Second) // the longest pause
				wantOutcomes(t, &phone, "1", "2", "3")
				if since := o.lane.AwaySince(); !since.IsZero() {
					t.Errorf("still away since %v", since)
				}
			})
		})
	}
}

// The database is away since it failed to answer. What it was asked before that may
// have been on its way while it was there, unless that took longer than any answer.
func TestAwaySinceItFailed(t *testing.T) {
	for took, counted := range map[time.Duration]time.Duration{0: 0, time.Second: 0, 6 * time.Second: 6 * time.Second} {
		t.Run(took.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t)
				first := true
				o.db.set(func() {
					o.db.failAppend = func(*postbox.Batch) error {
						if first {
							first = false
							time.Sleep(took)
						}
						return errAway
					}
				})
				began := time.Now()
				var phone origin
				o.submit(letter(&phone, alice, "bob", "1"))
				rest(20 * time.Second)
				if since, want := o.lane.AwaySince(), began.Add(took-counted); !since.Equal(want) {
					t.Errorf("away since %v after the question, want %v", since.Sub(began), want.Sub(began))
				}
				o.db.set(func() { o.db.failAppend = nil })
				rest(time.Second)
			})
		})
	}
}

// After an outcome that is not known the same batch is given again, and
// nothing else before it.
func TestUnknownOutcomeIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var given []*postbox.Batch
		o.db.set(func() {
			o.db.failAppend = func(b *postbox.Batch) error {
				if given = append(given, b); len(given) < 4 {
					return errAway
				}
				return nil
			}
		})
		var phone origin
		o.submit(letter(&phone, alice, "bob", "1"))
		synctest.Wait()
		o.submit(letter(&phone, alice, "bob", "2"))
		rest(time.Minute)
		wantOutcomes(t, &phone, "1", "2")
		if len(given) != 5 || given[0] != given[1] || given[0] != given[2] || given[0] != given[3] || given[4] == given[0] {
			t.Errorf("given %v", given)
		}
	})
}
