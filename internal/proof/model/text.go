package model

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// newText makes something to say, as far as the device's protocol version can.
func (d *device) newText(r *rand.Rand, qos byte) *text {
	b := &d.w.book
	if qos > 0 && r.IntN(3) == 0 {
		return d.theTick(r)
	}
	b.next++
	x := &text{token: fmt.Sprintf("m%06d.", b.next), sender: d.user, to: d.w.users[r.IntN(len(d.w.users))], made: time.Now()}
	x.body = x.token
	switch r.IntN(40) {
	case 0, 1, 2:
		x.body = "\xff" + x.token + "\x00\xfe"
	case 3:
		x.long = 1000 + r.IntN(5000)
	}
	if r.IntN(5) == 0 && (qos > 0 || d.version == 5) {
		x.key = fmt.Sprintf("k%d", b.next)
	}
	if d.version == 5 {
		d.embellish(x, r)
	}
	if x.key == "" && qos > 0 && r.IntN(40) == 0 {
		x.to, x.never = fmt.Sprintf("nobody%d", b.next), "not_found"
	}
	b.add(x)
	return x
}

// embellish adds what only MQTT 5 can say.
func (d *device) embellish(x *text, r *rand.Rand) {
	switch r.IntN(12) {
	case 0, 1:
		x.expiry = uint32(1 + r.IntN(2))
	case 2:
		x.ref = fmt.Sprintf(`{"n": %d}`, r.IntN(100))
	case 3:
		x.ctype = "application/x-model"
	}
}

// variant is another text under the same key.
func (d *device) variant(x *text, r *rand.Rand) *text {
	b := &d.w.book
	b.next++
	v := &text{token: fmt.Sprintf("m%06d.", b.next), sender: x.sender, to: x.to, key: x.key, made: time.Now()}
	v.body = v.token
	if r.IntN(3) == 0 {
		v.to = d.w.users[r.IntN(len(d.w.users))]
	}
	b.add(v)
	return v
}

// theTick is what the device says again and again: new each time, and to be
// told from a re-send by DUP alone.
func (d *device) theTick(r *rand.Rand) *text {
	if d.tick == nil {
		d.tick = &text{tick: true, sender: d.user, device: d.name, to: d.w.otherThan(d.user, r), body: "tick of " + d.String(), made: time.Now()}
		d.w.book.ticks[d.tick.body] = d.tick
	}
	return d.tick
}

// whole is the body with its filler.
func (x *text) whole() string { return x.body + strings.Repeat("long ", x.long) }

// topicOf is where a publish of the text goes; the key is in it unless it is a
// property.
func (x *text) topicOf(property bool) string {
	t := "inbox/" + x.to
	if x.key != "" && !property {
		t += "/" + x.key
	}
	return t
}
