package proof

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"testing"
	"time"
)

// subscribeAs subscribes a device anew, with a QoS and, if raw, in raw form.
func (d *Device) subscribeAs(qos byte, raw bool) {
	d.t.Helper()
	d.id++
	var p []byte
	if raw {
		p = appendText(appendText(append(p, 0x26), "form"), "raw")
	}
	b := append(appendVarint(binary.BigEndian.AppendUint16(nil, d.id), len(p)), p...)
	d.Write(packet(8<<4|2, append(appendText(b, "inbox/"+d.o.User), qos)))
	if f := d.read(typeSuback); f.body[len(f.body)-1] != qos {
		d.t.Fatalf("SUBACK 0x%02x, want %d", f.body[len(f.body)-1], qos)
	}
}

// What a device is not sent, or not in full, does not hold it up: over many
// pages its cursor passes what is too large for it, and what it takes at QoS 0.
// Bodies come in full where they fit, else with their size; entries of which
// not even the envelope fits are spared, and `after` says so.
func TestCursorPassesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	const large = 3000
	entries := 1500
	if soak {
		entries = 30_000
	}
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	kinds := []struct {
		id   string
		max  uint32
		qos  byte
		raw  bool
		full func(n int64) bool // comes with its body
		none bool               // nothing fits
	}{
		{id: "all", qos: 1, full: func(int64) bool { return true }},
		{id: "at-most-once", qos: 0, full: func(int64) bool { return true }},
		{id: "small-packets", max: 1200, qos: 1, full: func(n int64) bool { return n%3 != 0 }},
		{id: "raw", qos: 1, raw: true, full: func(int64) bool { return true }},
		{id: "raw-small-packets", max: 1200, qos: 1, raw: true, full: func(n int64) bool { return n%3 != 0 }},
		{id: "nothing-fits", max: 100, qos: 1, none: true},
	}
	o := func(i int) RawConnect {
		return RawConnect{Version: 5, ID: kinds[i].id, User: "bob", Password: "bob's secret", Expiry: 3600, MaximumPacket: kinds[i].max}
	}
	for i, k := range kinds {
		d := ConnectDevice(t, s.MQTT, o(i), nil)
		d.subscribeAs(k.qos, k.raw)
		d.Leave()
	}
	// Every third one is large; the two in between are small.
	small, big := StartSource(t, s.MQTT, "alice", "small", 100, "bob"), StartSource(t, s.MQTT, "alice", "large", large, "bob")
	for range entries / 3 {
		small.Send(t, 2)
		big.Send(t, 1)
	}
	db := s.DB()
	defer db.Close()
	for i, k := range kinds {
		t.Run(k.id, func(t *testing.T) {
			d := ConnectDevice(t, s.MQTT, o(i), nil)
			next := int64(1)
			all := make(chan struct{}) // closed when the last entry is there
			d.Each = func(a Arrival) {
				n, _ := strconv.ParseInt(first(a.User["inbox-seq"]), 10, 64)
				if n != next {
					t.Errorf("entry %d came, want %d", n, next)
				}
				next = n + 1
				if n == int64(entries) {
					close(all)
				}
				body := string(a.Body)
				if !k.raw {
					var e Envelope
					if err := json.Unmarshal(a.Body, &e); err != nil {
						t.Errorf("entry %d: %v", n, err)
					}
					if e.InboxSeq != n {
						t.Errorf("the envelope says %d, the property %d", e.InboxSeq, n)
					}
					body = ""
					if e.Body != nil {
						body = *e.Body
					} else if e.TooLarge <= large {
						t.Errorf("entry %d has no body, and too_large %d", n, e.TooLarge)
					}
				}
				size := 100
				if n%3 == 0 {
					size = large
				}
				if !k.full(n) {
					size = 0
					if first(a.User["too-large"]) == "" {
						t.Errorf("entry %d has no property too-large", n)
					}
				}
				if len(body) != size {
					t.Errorf("entry %d has a body of %d bytes, want %d", n, len(body), size)
				}
				if k.max > 0 && a.Size > int(k.max) {
					t.Errorf("entry %d came in a packet of %d bytes, and %d are allowed", n, a.Size, k.max)
				}
			}
			d.Follow(0)
			WaitCursor(t, db, "bob", k.id, int64(entries))
			if !k.none { // at most once, the cursor is ahead of what has arrived
				select {
				case <-all:
				case <-time.After(patience):
					t.Error("the last entry does not come")
				}
			}
			d.Unfollow()
			if want := int64(entries) + 1; !k.none && next != want {
				t.Errorf("the device is at %d, want %d", next-1, entries)
			}
			if k.none && next != 1 {
				t.Errorf("%d entries came to a device for which all are too large", next-1)
			}
			if more := d.Drain(); len(more) > 0 {
				t.Errorf("%d more deliveries came", len(more))
			}
			d.Leave()
		})
	}
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}
