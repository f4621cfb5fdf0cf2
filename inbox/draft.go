package inbox

import (
	"errors"
	"time"

	"postbox"
)

// ErrClosed says that the lane takes no more drafts, since the server stops.
var ErrClosed = errors.New("the writer is closed")

// Origin is a connection as its lane sees it. Its methods are called from one
// goroutine of the lane and must not block.
type Origin interface {
	// Settled tells that d is done, in the order of Submit. Its outcome is in
	// d.Stored, or in d.Refusal.
	Settled(d *Draft)
	// Flush is called after the last Settled of a group, once or more often.
	Flush()
}

// Action says what a draft asks for.
type Action uint8

const (
	// Append stores a message. A draft that already carries a Refusal or a
	// Stored passes through the lane to be settled in its turn.
	Append Action = iota
	// Release closes an open QoS 2 publish.
	Release
	// Amend stores an edit, a retraction or a read marker.
	Amend
	// Pass stores nothing: it is settled in its turn.
	Pass
)

// Watcher follows one draft through a lane. Its methods are called one after the
// other, from the lane's commit loop, and must not block.
type Watcher interface {
	// Taken is told when the draft is taken off the queue, with its group.
	Taken(at time.Time, group int)
	// Committed is told when its group was.
	Committed(at time.Time)
}

// Draft is one request of a connection on its way through a lane. After Submit
// it belongs to the lane until it is settled.
type Draft struct {
	Action  Action
	Origin  Origin
	User    postbox.UserID // whose it is: what a user submits keeps its order
	To      postbox.User   // destination, resolved by the lane
	Publish postbox.Publish
	Device  postbox.DeviceID // with a session, for QoS 2 and Frees; else zero
	Topic   string           // as published, for the error envelope
	Change  *postbox.Change  // of Amend, else nil

	// Frees says that the packet id is that of an open QoS 2 publish which was
	// given up, since it is used for something else now.
	Frees bool

	// Earlier is the draft of the same connection that this one re-sends,
	// when that is still on its way.
	Earlier *Draft

	// Watch is told when the draft comes to its stations; nil: nobody is.
	Watch Watcher

	// The outcome.
	Stored    postbox.Stored
	Duplicate bool
	Refusal   *postbox.Error
}

// size is what a draft counts for in the bounds of a queue, in bytes.
func (d *Draft) size() int {
	n := 256
	if m := d.Publish.Message; m != nil {
		n += len(m.Body) + len(m.Ref)
	}
	if d.Change != nil {
		n += len(d.Change.Body)
	}
	return n
}

// appends reports whether the draft still needs a row.
func (d *Draft) appends() bool {
	return d.Action == Append && d.Refusal == nil && !d.Duplicate && d.Earlier == nil
}

// refuse settles the draft with err. An error that strangers must not see
// becomes ErrInternal.
func (d *Draft) refuse(err error) {
	d.Refusal = postbox.AsError(err)
}

// known settles the draft as a repetition of a stored message.
func (d *Draft) known(s postbox.Stored) {
	d.Stored, d.Duplicate = s, true
}
