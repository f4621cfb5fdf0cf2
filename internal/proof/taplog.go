package proof

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Sent is one PUBLISH that a client put on the wire. A re-send is another Sent
// of the same message.
type Sent struct {
	Device      string // user/client id
	Conn        int
	At          time.Time
	PacketID    uint16
	QoS         byte
	Dup         bool
	Topic       string
	ContentType string
	Body        string

	Answered time.Time // of the PUBACK or PUBREC; zero if there is none
	Reason   byte
	User     map[string][]string // user properties of the acknowledgement
}

// Conn is one network connection that went through the tap.
type Conn struct {
	Number  int
	Device  string // user/client id, empty until CONNECT
	Version byte
	Opened  time.Time
	Up      time.Time // of a CONNACK that accepts; zero before it
	Granted time.Time // of the last SUBACK; zero before it
	Closed  time.Time // zero while it is open
	Sends   []*Sent   // in wire order

	waiting map[byte][]*Sent // by type of acknowledgement, in wire order
	opened2 map[uint16]bool  // QoS 2 ids with a PUBREL from the client and no PUBCOMP yet
}

// TapLog is what a tap saw. All methods are safe for concurrent use.
type TapLog struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something is recorded
	conns   []*Conn
	devices map[string]*flow
	faults  []string
	// onWire and answered count distinct messages with QoS > 0, over all
	// devices: sent at all, and acknowledged.
	onWire, answers int
	// identify names the message of a PUBLISH, so that its re-sends are told
	// from other messages.
	identify func(*Sent) string
}

// flow is what one device sent, over all its connections.
type flow struct {
	messages map[string]*Message
	answered int
}

// Message is one message of one device with all its sends.
type Message struct {
	ID    string
	Sends []*Sent
	// Answered is when the first PUBACK or PUBREC of any of its sends was on
	// the wire; zero if there was none.
	Answered time.Time
}

func newTapLog() *TapLog {
	return &TapLog{
		changed:  make(chan struct{}),
		devices:  map[string]*flow{},
		identify: func(s *Sent) string { return s.Body },
	}
}

// Identify replaces what tells one message from another; by default it is the
// body. Call it before the first client connects.
func (l *TapLog) Identify(f func(*Sent) string) { l.identify = f }

func (l *TapLog) touch() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *TapLog) fault(c *Conn, format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf("connection %d of %s: ", c.Number, c.Device)+fmt.Sprintf(format, args...))
}

func (l *TapLog) open() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &Conn{
		Number: len(l.conns), Version: 4, Opened: time.Now(),
		waiting: map[byte][]*Sent{}, opened2: map[uint16]bool{},
	}
	l.conns = append(l.conns, c)
	return c
}

func (l *TapLog) closed(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Closed.IsZero() {
		c.Closed = time.Now()
		l.touch()
	}
}

// fromClient records one packet on its way to the server.
//
// What the client sends is never a fault of the server.
func (l *TapLog) fromClient(c *Conn, f frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch f.kind() {
	case typeConnect:
		p, err := parseConnect(f)
		if err != nil {
			return fmt.Errorf("parse CONNECT: %w", err)
		}
		c.Version, c.Device = p.Version, p.User+"/"+p.ClientID
	case typePublish:
		p, err := parsePublish(f, c.Version)
		if err != nil {
			return fmt.Errorf("parse PUBLISH: %w", err)
		}
		l.published(c, p)
	case typePubrel:
		p, err := parseAck(f, c.Version)
		if err != nil {
			return fmt.Errorf("parse PUBREL: %w", err)
		}
		c.opened2[p.PacketID] = true
	}
	return nil
}

func (l *TapLog) published(c *Conn, p publishPacket) {
	s := &Sent{
		Device: c.Device, Conn: c.Number, At: time.Now(), PacketID: p.PacketID, QoS: p.QoS, Dup: p.Dup,
		Topic: p.Topic, ContentType: p.Properties.ContentType, Body: string(p.Body),
	}
	c.Sends = append(c.Sends, s)
	d := l.devices[c.Device]
	if d == nil {
		d = &flow{messages: map[string]*Message{}}
		l.devices[c.Device] = d
	}
	id := l.identify(s)
	m := d.messages[id]
	if m == nil {
		m = &Message{ID: id}
		d.messages[id] = m
		if s.QoS > 0 {
			l.onWire++
		}
	}
	m.Sends = append(m.Sends, s)
	switch s.QoS {
	case 1:
		c.waiting[typePuback] = append(c.waiting[typePuback], s)
	case 2:
		c.waiting[typePubrec] = append(c.waiting[typePubrec], s)
	}
	l.touch()
}

// fromServer records one packet on its way to the client. A packet that cannot
// be read is a fault.
func (l *TapLog) fromServer(c *Conn, f frame) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		if err != nil {
			l.fault(c, "%v", err)
		}
	}()
	switch kind := f.kind(); kind {
	case typeConnack:
		if len(f.body) > 1 && f.body[1] == 0 {
			c.Up = time.Now()
			l.touch()
		}
	case typeSuback:
		c.Granted = time.Now()
		l.touch()
	case typePuback, typePubrec, typePubcomp:
		a, err := parseAck(f, c.Version)
		if err != nil {
			return fmt.Errorf("parse acknowledgement of type %d: %w", kind, err)
		}
		if kind == typePubcomp {
			if !c.opened2[a.PacketID] {
				l.fault(c, "PUBCOMP %d without a PUBREL", a.PacketID)
			}
			delete(c.opened2, a.PacketID)
			return nil
		}
		l.answered(c, kind, a)
	}
	return nil
}

// answered matches an acknowledgement with its PUBLISH. They must come in the
// order of the publishes [MQTT-4.6.0-2].
func (l *TapLog) answered(c *Conn, kind byte, a ackPacket) {
	queue := c.waiting[kind]
	i := slices.IndexFunc(queue, func(s *Sent) bool { return s.PacketID == a.PacketID })
	if i < 0 {
		l.fault(c, "acknowledgement of type %d for packet id %d, which waits for none", kind, a.PacketID)
		return
	}
	if i > 0 {
		l.fault(c, "acknowledgement of type %d for packet id %d overtook %d", kind, a.PacketID, queue[0].PacketID)
	}
	s := queue[i]
	c.waiting[kind] = slices.Delete(queue, i, i+1)
	s.Answered, s.Reason, s.User = time.Now(), a.Reason, a.User
	d := l.devices[c.Device]
	if m := d.messages[l.identify(s)]; m.Answered.IsZero() {
		m.Answered = s.Answered
		d.answered++
		l.answers++
	}
	l.touch()
}

// Changed returns a channel that is closed at the next thing recorded.
func (l *TapLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Answered is how many distinct messages of the device were acknowledged on
// the wire.
func (l *TapLog) Answered(device string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.devices[device]; d != nil {
		return d.answered
	}
	return 0
}

// Totals counts the distinct messages with QoS > 0 of all devices: those that
// were on the wire, and those of them that were acknowledged.
func (l *TapLog) Totals() (onWire, answered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.onWire, l.answers
}

// MessageKey names a message of a device.
type MessageKey struct{ Device, ID string }

// Unanswered are the messages with QoS > 0 that were on the wire by the moment
// sent and had no acknowledgement by the moment answered.
func (l *TapLog) Unanswered(sent, answered time.Time) map[MessageKey]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[MessageKey]bool{}
	for name, d := range l.devices {
		for id, m := range d.messages {
			if m.Sends[0].QoS > 0 && !m.Sends[0].At.After(sent) && (m.Answered.IsZero() || m.Answered.After(answered)) {
				out[MessageKey{name, id}] = true
			}
		}
	}
	return out
}

// Open is how many connections are open.
func (l *TapLog) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, c := range l.conns {
		if c.Closed.IsZero() {
			n++
		}
	}
	return n
}

// Connected tells whether the device has an open connection that the server
// accepted; Subscribed whether it has had a SUBACK on it too.
func (l *TapLog) Connected(device string) bool {
	return l.any(device, func(c *Conn) bool { return !c.Up.IsZero() })
}

// Subscribed is described at Connected.
func (l *TapLog) Subscribed(device string) bool {
	return l.any(device, func(c *Conn) bool { return !c.Granted.IsZero() })
}

func (l *TapLog) any(device string, is func(*Conn) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.conns, func(c *Conn) bool { return c.Device == device && c.Closed.IsZero() && is(c) })
}

// Messages returns copies of all messages of the device, by identity.
func (l *TapLog) Messages(device string) map[string]Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]Message{}
	if d := l.devices[device]; d != nil {
		for id, m := range d.messages {
			c := *m
			c.Sends = nil
			for _, s := range m.Sends {
				one := *s
				c.Sends = append(c.Sends, &one)
			}
			out[id] = c
		}
	}
	return out
}

// Devices names all devices that published.
func (l *TapLog) Devices() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.devices))
}

// Conns returns copies of all connections, in the order in which they came.
func (l *TapLog) Conns() []Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Conn, 0, len(l.conns))
	for _, c := range l.conns {
		one := *c
		one.Sends = slices.Clone(c.Sends)
		out = append(out, one)
	}
	return out
}

// Faults are the broken rules of MQTT that the tap saw on the server's side.
func (l *TapLog) Faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.faults)
}
