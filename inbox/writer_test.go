package inbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

func (o *office) writer() Writer {
	return Writer{LaneOf: func(postbox.UserID) *Lane { return o.lane }}
}

// note is a publish for Writer.Send.
func note(from postbox.UserID, to postbox.User, body string) (postbox.Topic, *postbox.Publish) {
	d := letter(nil, from, to, body)
	return postbox.Topic{Kind: postbox.KindInbox, User: to}, &d.Publish
}

// Send returns what was stored, or why it was not.
func TestWriterSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		to, p := note(alice, "bob", "hello")
		p.Message.Key = "k"
		first, again, err := o.writer().Send(t.Context(), to, p)
		if err != nil || again || first.Seq != 1 || first.InboxSeq != 1 {
			t.Errorf("sent: %+v, duplicate %v, %v", first, again, err)
		}
		second, again, err := o.writer().Send(t.Context(), to, p)
		if err != nil || !again || second.ID != first.ID {
			t.Errorf("sent again: %+v, duplicate %v, %v", second, again, err)
		}
		to, p = note(alice, "nobody", "hello")
		if _, _, err := o.writer().Send(t.Context(), to, p); !errors.Is(err, postbox.ErrNotFound) {
			t.Errorf("to nobody: %v", err)
		}
	})
}

// A caller whose time is over hears that it is not known yet; what it sent is
// stored all the same when the database is back.
func TestWriterGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		to, p := note(alice, "bob", "hello")
		if _, _, err := o.writer().Send(ctx, to, p); !errors.Is(err, postbox.ErrUnavailable) {
			t.Errorf("while the database is away: %v", err)
		}
		close(gate)
		synctest.Wait()
		o.wantBatches([]string{"hello"})
		o.lane.Refuse()
		if _, _, err := o.writer().Send(t.Context(), to, p); !errors.Is(err, postbox.ErrUnavailable) {
			t.Errorf("at the end of the server: %v", err)
		}
	})
}

// A change has its place between what was submitted before and after it, and is
// delivered in the order of its number.
func TestChangeKeepsItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		who := &origin{}
		change := func() *postbox.Change {
			return &postbox.Change{Type: postbox.EntryEdit, Actor: alice, Recipients: []postbox.UserID{alice, bob}}
		}
		lost := errAway
		o.db.set(func() {
			o.db.failChange = func(*postbox.Change) error {
				defer func() { lost = nil }()
				return lost
			}
		})
		refused := change()
		refused.Refusal = postbox.Errorf(postbox.CodeForbidden, "not yours")
		o.submit(
			letter(who, alice, "bob", "a"), letter(who, alice, "bob", "b"),
			&Draft{Action: Amend, Origin: who, Change: change()},
			letter(who, alice, "bob", "c"),
			&Draft{Action: Amend, Origin: who, Change: refused},
			letter(who, alice, "bob", "d"))
		desk := &desk{t: t, db: o.db, hub: o.hub}
		phone := desk.connect(phone(10), Start{AtEnd: true}).resume()
		defer phone.close()
		close(gate)
		rest(time.Minute)
		o.wantBatches([]string{"a", "b"}, []string{"edit"}, []string{"c"}, []string{"edit"}, []string{"d"})
		wantOutcomes(t, who, "a", "b", "release", "c", "release: forbidden", "d")
		phone.want(numbers(1, 5)...)
	})
}
