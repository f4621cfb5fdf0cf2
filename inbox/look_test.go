package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// What was stored past the lanes comes to who is connected, when the hub is told to
// look: though nothing else comes, and between what does.
func TestLook(t *testing.T) {
	for name, c := range map[string]struct {
		window, live int
		at           []postbox.UserID
	}{
		"nothing else": {1000, 0, nil}, "in small pieces": {3, 0, nil}, "beside live ones": {1000, 40, nil}, "of some": {1000, 0, []postbox.UserID{bob, alice}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk(t)
				v := d.connect(phone(c.window), Start{}).resume()
				d.commit(700)
				synctest.Wait()
				d.hub.Look(c.at...)
				d.hub.Look(c.at...) // of two imports at once
				d.post(d.commit(c.live))
				time.Sleep(3 * holePause)
				v.ackAll()
				v.want(numbers(1, 700+c.live)...)
				d.post(d.commit(1))
				v.ackAll()
				v.want(numbers(1, 701+c.live)...)
			})
		})
	}
}
