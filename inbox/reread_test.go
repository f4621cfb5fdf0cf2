package inbox

import (
	"testing"
	"testing/synctest"

	"postbox"
)

// rewrite gives all entries of an inbox another body, as an erasure does.
func (d *database) rewrite(user postbox.UserID, body string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, e := range d.logs[user] {
		m := *e.Message
		m.Body = []byte(body)
		d.logs[user][i] = &postbox.Entry{InboxSeq: e.InboxSeq, Own: e.Own, Message: &m}
	}
}

// What was erased is not delivered any more, though it waited in memory: neither
// at the live end, nor on a page that was read.
func TestReread(t *testing.T) {
	for name, c := range map[string]struct{ behind, live int }{"live": {0, 20}, "page": {200, 0}, "page and live": {30, 20}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk(t)
				d.commitFrom(bob, "", c.behind, []byte("old"))
				v := d.connect(phone(2), Start{}).resume()
				synctest.Wait()
				d.post(d.commitFrom(bob, "", c.live, []byte("old")))
				synctest.Wait()
				d.db.rewrite(alice, "new")
				d.hub.Reread()
				v.ackAll()
				v.want(numbers(1, c.behind+c.live)...)
				for _, got := range v.got[2:] {
					if string(got.Entry.Message.Body) != "new" {
						t.Fatalf("entry %d was delivered as it had been", got.Entry.InboxSeq)
					}
				}
			})
		})
	}
}
