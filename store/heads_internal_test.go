package store

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// held holds logs, checks what is known of them, and releases them with more.
func held(t *testing.T, h *heads, logs []int64, want, learnt []int64) {
	t.Helper()
	got, _ := h.hold(t.Context(), logs)
	if !slices.Equal([]int64(got.numbers), want) {
		t.Errorf("the last numbers of %v are %v, want %v", logs, got.numbers, want)
	}
	h.learn(logs, holding{numbers: learnt, deletions: got.deletions})
}

func TestHeads(t *testing.T) {
	h := newHeads()
	held(t, h, []int64{1, 2}, []int64{-1, -1}, []int64{10, 20})
	held(t, h, []int64{2, 3}, []int64{20, -1}, []int64{21, 1})

	known, _ := h.hold(t.Context(), []int64{1})
	h.learn([]int64{1}, holding{numbers: []int64{11}, stamps: []int64{500}})
	if known.numbers[0] != 10 || known.stamps[0] != 0 {
		t.Errorf("%v", known)
	}
	if known, _ = h.hold(t.Context(), []int64{1}); known.stamps[0] != 500 {
		t.Errorf("the last message is of %v", known.stamps)
	}
	h.release([]int64{1})
	held(t, h, []int64{1, 2, 3}, []int64{11, 21, 1}, []int64{11, 21, 1})

	// Others have written: to a log that is known, one that is not, and one that is
	// just being written to, before that.
	h.raise([]int64{1, 4}, []int64{15, 5})
	h.raise([]int64{1}, nil) // refused: none was given
	held(t, h, []int64{1, 4}, []int64{15, -1}, []int64{16, 6})
	h.hold(t.Context(), []int64{1})
	h.raise([]int64{1, 2}, []int64{18, 3})
	h.learn([]int64{1}, holding{numbers: []int64{17}})
	held(t, h, []int64{1, 2}, []int64{18, 21}, []int64{18, 21})

	// Nobody knows what became of it.
	h.hold(t.Context(), []int64{2})
	h.forget([]int64{2})
	held(t, h, []int64{1, 2}, []int64{18, -1}, []int64{18, 22})

	// There may be another database by now: also where a batch is on its way.
	h.hold(t.Context(), []int64{1})
	h.hold(t.Context(), []int64{2})
	h.forgetAll()
	h.learn([]int64{1}, holding{numbers: []int64{19}, deletions: 8})
	h.release([]int64{2})
	held(t, h, []int64{1, 2, 3}, []int64{-1, -1, -1}, []int64{5, 5, 5})
}

// What was learnt before something was deleted does not count, in all of the logs and
// for batches that were on their way; nor does what another database has told.
func TestHeadsAfterADeletion(t *testing.T) {
	h := newHeads()
	learn := func(log, number, deletions int64) {
		h.learn([]int64{log}, holding{numbers: []int64{number}, deletions: deletions})
	}
	want := func(deletions int64, numbers ...int64) {
		t.Helper()
		got, _ := h.hold(t.Context(), []int64{1, 2, 3})
		if !slices.Equal([]int64(got.numbers), numbers) || got.deletions != deletions {
			t.Errorf("%v are known at %d, want %v at %d", got.numbers, got.deletions, numbers, deletions)
		}
		h.release([]int64{1, 2, 3})
	}
	hold := func(logs ...int64) { h.hold(t.Context(), logs) }
	hold(1)
	learn(1, 10, 5)
	hold(2)
	hold(3)
	learn(2, 20, 6)
	learn(3, 30, 5) // had looked before the other one
	want(6, -1, 20, -1)
	hold(1)
	learn(1, 11, 6)
	want(6, 11, 20, -1)

	hold(1)
	h.forgetAll()
	learn(1, 12, 7)
	hold(2)
	learn(2, 3, 2)
	if got, _ := h.hold(t.Context(), []int64{1, 2}); !slices.Equal([]int64(got.numbers), []int64{-1, 3}) || got.deletions != 2 {
		t.Errorf("of another database %v are known at %d", got.numbers, got.deletions)
	}
}

// A log is in one batch at a time, and those who wait for it get what was learnt.
func TestHeadsAreHeldByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeads()
		h.hold(t.Context(), []int64{2, 3})
		var mu sync.Mutex // guards got
		var got []int64
		for _, logs := range [][]int64{{1, 2}, {3, 4}} {
			go func() {
				known, _ := h.hold(t.Context(), logs)
				mu.Lock()
				got = append(got, known.numbers...)
				mu.Unlock()
				h.release(logs)
			}()
		}
		synctest.Wait()
		if len(got) > 0 {
			t.Fatalf("two batches have a log: %v", got)
		}
		h.learn([]int64{2, 3}, holding{numbers: []int64{7, 7}})
		synctest.Wait()
		if slices.Sort(got); !slices.Equal(got, []int64{-1, -1, 7, 7}) {
			t.Errorf("got %v", got)
		}
	})
}

// Who waits in vain, for a batch that is not answered, goes on without.
func TestHoldsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeads()
		h.hold(t.Context(), []int64{2})
		h.raise([]int64{1}, []int64{1})
		began := time.Now()
		known, held := h.hold(t.Context(), []int64{1, 2, 3})
		if took := time.Since(began); held || took != holdPatience || !slices.Equal(known.numbers, []int64{-1, -1, -1}) {
			t.Errorf("held %v after %v: %v", held, took, known)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, held := h.hold(ended, []int64{1, 2}); held {
			t.Errorf("held what another has")
		}
		h.forget([]int64{2})
		held3 := func() bool { _, held := h.hold(t.Context(), []int64{1, 2, 3}); return held }
		if !held3() {
			t.Errorf("what nobody has is not held")
		}
	})
}

func TestHeadsAreBounded(t *testing.T) {
	h := newHeads()
	logs, numbers := make([]int64, 1000), make([]int64, 1000)
	h.hold(t.Context(), []int64{-1})
	for n := range 2 * maxRemembered / len(logs) {
		for i := range logs {
			logs[i] = int64(n*len(logs) + i)
		}
		h.hold(t.Context(), logs)
		h.learn(logs, holding{numbers: numbers})
		if len(h.of) > maxRemembered {
			t.Fatalf("%d heads are remembered", len(h.of))
		}
	}
	if one := h.of[-1]; one == nil || !one.held {
		t.Errorf("what is held was forgotten")
	}
}
