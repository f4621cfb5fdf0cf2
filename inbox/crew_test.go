package inbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// What asks for work while somebody waits for the end of it gets none: a
// WaitGroup that is added to meanwhile panics.
func TestCrewIsDismissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		hold := make(chan struct{})
		late := false
		c.spawn(func() { <-hold })
		done := make(chan error)
		go func() { done <- c.dismiss(t.Context()) }()
		synctest.Wait()
		c.spawn(func() { late = true })
		bound, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.dismiss(bound); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while one works: %v", err)
		}
		close(hold)
		if err := <-done; err != nil || late {
			t.Errorf("%v; worked late: %v", err, late)
		}
	})
}

// Who waits for another's save to end waits no longer than its own context.
func TestSaveWaitsAsLongAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := saver{log: quiet()}
		v.init()
		v.saving <- struct{}{} // one that hangs
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := v.save(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-v.saving
		if err := v.save(t.Context()); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// A hub that has shut down reads no more, whatever comes.
func TestNothingIsReadAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil, "now", quiet())
		h.Start()
		if err := h.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		box := &mailbox{hub: h, user: 1}
		box.add(&postbox.Entry{InboxSeq: 7}) // the head is not known: it would be read
		synctest.Wait()
	})
}
