package inbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

func TestShutdownFlushes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var phone origin
		var want []string
		for i := range 2*maxBatch + 1 {
			o.submit(letter(&phone, alice, "bob", fmt.Sprint(i)))
			want = append(want, fmt.Sprint(i))
		}
		done := make(chan error)
		for range 2 {
			go func() { done <- o.lane.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		if err := o.lane.Submit(letter(&phone, alice, "bob", "late")); !errors.Is(err, ErrClosed) {
			t.Errorf("late: %v", err)
		}
		if err := o.lane.Flush(t.Context()); err != nil {
			t.Errorf("flush: %v", err)
		}
		close(gate)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		wantOutcomes(t, &phone, want...)
	})
}

// What cannot be committed in time is not answered.
func TestShutdownIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		o.db.set(func() { o.db.failAppend = func(*postbox.Batch) error { return errAway } })
		var phone origin
		o.submit(letter(&phone, alice, "bob", "1"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := o.lane.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		if err := o.lane.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		o.cancel()
		if err := o.lane.Shutdown(t.Context()); err != nil {
			t.Errorf("after the end of its context: %v", err)
		}
		wantOutcomes(t, &phone)
	})
}

// Another server has taken over: nobody is answered any more, and nobody waits.
func TestFenced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		o.db.set(func() { o.db.failAppend = func(*postbox.Batch) error { return ErrFenced } })
		var phone origin
		o.submit(letter(&phone, alice, "bob", "1"))
		synctest.Wait()
		o.submit(letter(&phone, alice, "bob", "2"))
		close(gate)
		synctest.Wait()
		wantOutcomes(t, &phone)
		if o.fenced != 1 {
			t.Errorf("told %d times", o.fenced)
		}
		began := time.Now()
		if err := o.lane.Submit(letter(&phone, alice, "bob", "3")); !errors.Is(err, ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = o.lane.Flush(ctx)
		if err := o.lane.Shutdown(ctx); err != nil || time.Since(began) > 0 {
			t.Errorf("shutdown: %v after %v", err, time.Since(began))
		}
		if n := len(o.db.committed()); n != 0 {
			t.Errorf("%d batches", n)
		}
	})
}
