package inbox

import (
	"errors"
	"testing"
	"testing/synctest"

	"postbox"
)

// sized is a draft that counts for a megabyte, all of them with one body.
func sized(o Origin) *Draft {
	d := letter(o, alice, "bob", "")
	d.Publish.Message.Body = megabyte
	return d
}

var megabyte = make([]byte, 1<<20)

// Above the high mark a sender waits, until the low mark is reached; nobody is
// refused.
func TestSubmitWaitsAboveTheHighMark(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var phone origin
		const high, low = highMarkBytes >> 20, lowMarkBytes >> 20
		o.submit(sized(&phone))
		synctest.Wait() // that one is being committed
		for range high {
			o.submit(sized(&phone)) // with 256 bytes each beside the body: just above
		}
		const waiting = 3
		submitted := make(chan struct{}, waiting)
		for range waiting {
			go func() {
				if err := o.lane.Submit(sized(&phone)); err != nil {
					t.Error(err)
				}
				submitted <- struct{}{}
			}()
		}
		left := high
		for left > low {
			synctest.Wait()
			if len(submitted) != 0 {
				t.Fatalf("submitted with %d MiB waiting", left)
			}
			gate <- struct{}{}
			synctest.Wait()
			left -= maxBatchBytes >> 20
		}
		gate <- struct{}{}
		synctest.Wait()
		if len(submitted) != waiting {
			t.Errorf("%d of %d submitted with %d MiB waiting", len(submitted), waiting, left)
		}
		close(gate)
		synctest.Wait()
		if n := len(phone.outcomes()); n != 1+high+waiting {
			t.Errorf("%d settled", n)
		}
	})
}

// Who waits for room is not forgotten when the lane closes, nor is a flush.
func TestShutdownWithAFullQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var phone origin
		o.submit(sized(&phone))
		synctest.Wait()
		const high = highMarkBytes >> 20
		for range high {
			o.submit(sized(&phone))
		}
		refused := make(chan error)
		go func() { refused <- o.lane.Submit(sized(&phone)) }()
		flushed, done := make(chan error), make(chan error)
		go func() { flushed <- o.lane.Flush(t.Context()) }()
		synctest.Wait()
		go func() { done <- o.lane.Shutdown(t.Context()) }()
		if err := <-refused; !errors.Is(err, ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		close(gate)
		if err := errors.Join(<-flushed, <-done); err != nil {
			t.Error(err)
		}
		if got := len(phone.outcomes()); got != 1+high {
			t.Errorf("%d of %d settled", got, 1+high)
		}
	})
}

// What the edge has decided passes through in its turn, without the database.
func TestDecidedDraftsPassThrough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone origin
		refused, known := letter(&phone, alice, "bob", "refused"), letter(&phone, alice, "bob", "known")
		refused.Refusal = postbox.ErrTooLarge
		known.known(postbox.Stored{Seq: 7})
		o.submit(refused, known, &Draft{Action: Release, Origin: &phone})
		synctest.Wait()
		wantOutcomes(t, &phone, "refused: too_large", "known: duplicate of 7", "release")
		if o.db.tries != 0 {
			t.Errorf("%d batches", o.db.tries)
		}
	})
}

func TestFlushWaitsForWhatWasSubmitted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var phone origin
		o.submit(letter(&phone, alice, "bob", "1"))
		synctest.Wait()
		o.submit(letter(&phone, alice, "bob", "2"))
		flushed := make(chan struct{})
		go func() {
			if err := o.lane.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			close(flushed)
		}()
		synctest.Wait()
		gate <- struct{}{}
		synctest.Wait()
		select {
		case <-flushed:
			t.Error("flushed before 2 was settled")
		default:
		}
		gate <- struct{}{}
		<-flushed
		wantOutcomes(t, &phone, "1", "2")
	})
}
