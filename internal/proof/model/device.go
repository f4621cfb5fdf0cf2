package model

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// device is one client id of a user. Its goroutine carries out its steps, one
// after the other; all its fields are guarded by the world's lock.
type device struct {
	w       *world
	user    string
	name    string
	version byte
	steps   chan step
	busy    int // steps not yet done

	conn    *conn // the last one, over or not
	session session
	pos     position
	ids     map[uint16]*publish   // packet ids in use
	history map[uint16][]*publish // who used an id before, the newest last
	pending []*publish            // unanswered or not completed, in the order of sending
	stale   []int64               // delivered on earlier connections, not acknowledged
	tick    *text
	sentIDs uint16 // of the last SUBSCRIBE or UNSUBSCRIBE
}

func (d *device) String() string { return d.user + "/" + d.name }

func newDevice(w *world, user, name string, version byte) *device {
	return &device{
		w: w, user: user, name: name, version: version, steps: make(chan step, 6),
		ids: make(map[uint16]*publish), history: make(map[uint16][]*publish),
	}
}

// work carries out steps until there are no more.
func (d *device) work() {
	for s := range d.steps {
		d.do(s)
		d.w.locked(func() {
			d.busy--
			d.w.tell()
		})
	}
}

// do carries out a step as far as it makes sense now.
func (d *device) do(s step) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if d.w.ctx.Err() != nil {
		return
	}
	r := s.rand()
	if s.kind == connectStep {
		d.connect(d.loginBy(r), r)
		return
	}
	if !d.online() {
		if s.kind == cutStep || s.kind == leaveStep || r.IntN(3) == 0 {
			return
		}
		if !d.connect(d.loginBy(r), r) {
			return
		}
	}
	c := d.conn
	switch s.kind {
	case thawStep:
		c.thaw()
	case cutStep:
		c.breakOff()
	case leaveStep:
		c.leave(r)
	case freezeStep:
		c.freeze()
	case sendStep:
		c.sendSome(r)
	case keyStep:
		c.repeatKey(r)
	case againStep:
		c.sendAgain(r)
	case ackStep:
		c.ackSome(r)
	case releaseStep:
		c.releaseSome(r)
	case pingStep:
		c.ping()
	case subStep:
		c.subscribeBy(r)
	case unsubStep:
		c.unsubscribe()
	}
}

func (d *device) online() bool { return d.conn != nil && !d.conn.over && !d.conn.closing }

// login is what a CONNECT says.
type login struct {
	clean  bool
	life   time.Duration // session expiry
	window int           // Receive Maximum; 0: not said
	acks   ackPolicy
}

// ackPolicy says how a connection acknowledges deliveries by itself.
type ackPolicy int

const (
	ackAtOnce ackPolicy = iota
	ackInPairs
	ackByStep
)

func (d *device) loginBy(r *rand.Rand) login {
	l := login{clean: r.IntN(9) == 0, acks: ackAtOnce}
	switch r.IntN(10) {
	case 0, 1, 2:
		l.acks = ackByStep
	case 3, 4:
		l.acks = ackInPairs
	}
	if d.version < 5 {
		if l.life = longLife; l.clean {
			l.life = 0
		}
		return l
	}
	l.life = []time.Duration{0, 2 * time.Second, longLife, longLife, longLife, longLife, longLife}[r.IntN(7)]
	l.window = []int{0, 1, 2, 5, 20, 64}[r.IntN(6)]
	return l
}

// longLife is a session that outlives the run.
const longLife = time.Hour

// windowOf is how many deliveries may be unacknowledged.
func (d *device) windowOf(l login) int {
	switch {
	case d.version < 5:
		return 64
	case l.window == 0:
		return 65535
	}
	return l.window
}

func (d *device) connectPacket(l login) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: d.version}
	c := &pk.Connect
	c.ProtocolName, c.ClientIdentifier, c.Clean, c.Keepalive = []byte("MQTT"), d.name, l.clean, 600
	c.UsernameFlag, c.Username = true, []byte(d.user)
	c.PasswordFlag, c.Password = true, []byte(d.w.tokens[d.user])
	if d.version == 5 {
		pk.Properties.SessionExpiryInterval = uint32(l.life / time.Second)
		pk.Properties.SessionExpiryIntervalFlag = true
		pk.Properties.ReceiveMaximum = uint16(l.window)
	}
	return pk
}

// nextID is a packet id for SUBSCRIBE and UNSUBSCRIBE, away from those of
// publishes.
func (d *device) nextID() uint16 {
	d.sentIDs = d.sentIDs%1000 + 1
	return 50_000 + d.sentIDs
}

// freeID is the lowest packet id that no publish uses: so ids come again soon.
func (d *device) freeID() uint16 {
	for id := uint16(1); ; id++ {
		if d.ids[id] == nil {
			return id
		}
	}
}

// inbox is the filter of the device's inbox.
func (d *device) inbox() string { return "inbox/" + d.user }

// since is the control filter for a position.
func (d *device) since(position string) string { return d.inbox() + "/since/" + position }

func (d *device) positionText(at int64, epoch bool) string {
	n := strconv.FormatInt(at, 10)
	if epoch {
		return d.w.epoch + ":" + n
	}
	return n
}
