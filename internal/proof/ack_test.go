package proof

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// numberOf reads the number of an entry that came as an envelope.
func numberOf(t testing.TB, a Arrival) int64 {
	t.Helper()
	var e struct {
		InboxSeq int64 `json:"inbox_seq"`
	}
	if err := json.Unmarshal(a.Body, &e); err != nil || e.InboxSeq == 0 {
		t.Fatalf("%.100q is not the envelope of an entry: %v", a.Body, err)
	}
	return e.InboxSeq
}

// careful is a device that acknowledges in its own way and knows what must
// follow: in which order entries come, how many, and from where again.
type careful struct {
	*testing.T
	d      *Device
	window int
	head   int64            // entries that there are
	next   int64            // due next
	open   map[int64]uint16 // delivered, not acknowledged: packet ids
	ids    map[int64]uint16 // of all deliveries
	dup    int64            // up to here deliveries carry DUP
}

// contiguous is the number up to which everything is acknowledged.
func (c *careful) contiguous() int64 {
	first := c.next
	for n := range c.open {
		first = min(first, n)
	}
	return first - 1
}

// expect takes what the window has room for and nothing more.
func (c *careful) expect() {
	c.Helper()
	due := min(int64(c.window-len(c.open)), c.head-c.next+1)
	all := append(c.d.Take(int(due)), c.d.Drain()...)
	if int64(len(all)) != due {
		c.Fatalf("%d deliveries came with %d open and room for %d", len(all), len(c.open), due)
	}
	for _, a := range all {
		n := numberOf(c, a)
		if n != c.next {
			c.Fatalf("entry %d came, want %d", n, c.next)
		}
		if before, again := c.ids[n]; again && before != a.PacketID {
			c.Errorf("entry %d came again with packet id %d, before with %d", n, a.PacketID, before)
		}
		if want := n <= c.dup; a.Dup != want {
			c.Errorf("entry %d came with DUP %v, want %v", n, a.Dup, want)
		}
		c.open[n], c.ids[n] = a.PacketID, a.PacketID
		c.next++
	}
}

// acknowledge acknowledges n of what is open, in random order.
func (c *careful) acknowledge(n int) {
	c.Helper()
	numbers := make([]int64, 0, len(c.open))
	for number := range c.open {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, i := range rand.Perm(len(numbers))[:n] {
		c.d.Acknowledge(c.open[numbers[i]])
		delete(c.open, numbers[i])
	}
}

// nonsense sends acknowledgements that mean nothing: of what was acknowledged
// before, of ids that no delivery has, and those of another QoS.
func (c *careful) nonsense() {
	c.Helper()
	var strange []uint16
	for n, id := range c.ids {
		if _, open := c.open[n]; !open && len(strange) < 20 {
			strange = append(strange, id)
		}
	}
	last := c.ids[c.next-1]
	c.d.Acknowledge(append(strange, last+1, last+2000, 60_000, 60_001, 65_535)...)
	for _, id := range c.open {
		c.d.AcknowledgeAs(typePubcomp, id)
	}
}

// A device acknowledges in random order, late, twice, and what it never got.
// Its window is kept to the delivery; its cursor only passes what is
// acknowledged without a gap; and after a kill of the server it gets what lies
// behind the cursor with the packet ids of before, the first window marked as
// sent before.
func TestAcknowledgeInAnyOrder(t *testing.T) {
	t.Parallel()
	entries := 600
	if soak {
		entries = 100_000
	}
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	devices := map[string]RawConnect{
		"3.1.1":                     {Version: 4, ID: "old"},
		"5 with Receive Maximum 37": {Version: 5, ID: "new", Expiry: 3600, ReceiveMaximum: 37},
	}
	windows := map[string]int{"old": 64, "new": 37}
	for name, o := range devices {
		o.User, o.Password = "bob", "bob's secret"
		devices[name] = o
		ConnectDevice(t, s.MQTT, o, nil).Leave()
	}
	StartSource(t, s.MQTT, "alice", "source", 64, "bob").Send(t, entries)
	for name, o := range devices {
		t.Run(name, func(t *testing.T) {
			c := &careful{T: t, window: windows[o.ID], head: int64(entries), next: 1, open: map[int64]uint16{}, ids: map[int64]uint16{}}
			c.dup = int64(c.window) // its session was resumed
			c.d = ConnectDevice(t, s.MQTT, o, nil)
			half := int64(entries / 2)
			for c.next <= half {
				c.expect()
				c.nonsense()
				c.acknowledge(rand.IntN(len(c.open)) + 1)
			}
			// The first of what is open stays so, whatever comes after it is
			// acknowledged, and the cursor with it.
			c.expect()
			first := c.contiguous() + 1
			held := c.open[first]
			delete(c.open, first)
			c.acknowledge(len(c.open))
			c.open[first] = held
			c.expect()
			c.acknowledge(c.window / 2)
			db := s.DB()
			WaitCursor(t, db, "bob", o.ID, c.contiguous())
			time.Sleep(1200 * time.Millisecond) // one more save, if there were one
			WaitCursor(t, db, "bob", o.ID, c.contiguous())
			db.Close()
			c.again(s, o)

			// Late: what was delivered before the kill is acknowledged now.
			time.Sleep(2 * time.Second)
			for c.next <= int64(entries) {
				c.acknowledge(len(c.open))
				c.expect()
			}
			c.acknowledge(len(c.open))
			db = s.DB()
			defer db.Close()
			WaitCursor(t, db, "bob", o.ID, int64(entries))
			c.d.Leave()
		})
	}
}

// again kills the server; the device comes back and is owed everything from
// its cursor.
func (c *careful) again(s *Server, o RawConnect) {
	c.Helper()
	cursor := c.contiguous()
	s.Kill9()
	c.d.Cut()
	s.Restart()
	c.d = ConnectDevice(c, s.MQTT, o, nil)
	if !c.d.Present {
		c.Fatal("the session is gone")
	}
	c.next, c.dup, c.open = cursor+1, cursor+int64(c.window), map[int64]uint16{}
	c.expect()
	if id := c.ids[cursor+1]; c.open[cursor+1] != id {
		c.Errorf("entry %d has packet id %d, before the kill %d", cursor+1, c.open[cursor+1], id)
	}
}

// A PUBREC is no acknowledgement of a delivery at QoS 1: whatever the server
// makes of the connection, the delivery comes again.
func TestPubrecIsNoAcknowledgement(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			id := fmt.Sprintf("phone%d", version)
			o := RawConnect{Version: version, ID: id, User: "bob", Password: "bob's secret", Expiry: 3600}
			d := ConnectDevice(t, s.MQTT, o, nil)
			StartSource(t, s.MQTT, "alice", "to-"+id, 64, "bob").Send(t, 3)
			got := d.Take(3)
			first := numberOf(t, got[0])
			d.AcknowledgeAs(typePubrec, got[0].PacketID)
			d.AcknowledgeAs(typePubcomp, got[0].PacketID)
			d.Alive() // all of it was read, or the connection has ended
			d.Cut()
			d = ConnectDevice(t, s.MQTT, o, nil)
			for i, a := range d.Take(3) {
				if n := numberOf(t, a); n != first+int64(i) || a.PacketID != got[i].PacketID || !a.Dup {
					t.Errorf("entry %d came with packet id %d, DUP %v; want %d, %d, true", n, a.PacketID, a.Dup, first+int64(i), got[i].PacketID)
				}
			}
			db := s.DB()
			defer db.Close()
			if at := SavedCursor(t, db, "bob", id); at >= first {
				t.Errorf("the cursor is %d, and %d is not acknowledged", at, first)
			}
		})
	}
}
