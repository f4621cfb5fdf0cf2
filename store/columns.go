package store

import (
	"slices"
	"time"

	"postbox"
)

// columns are a batch as the arguments of postbox.append: one array for each
// column, indexes 1-based.
type columns struct {
	publishes []*postbox.Publish
	// logs are distinct: the conversations, of which there are so many, and then the
	// inboxes, each in ascending order. counts are how many numbers are taken in each.
	logs          int8Array
	conversations int
	counts        int4Array

	// locks are those of the logs that are to be locked: not the inboxes of a room's
	// members; nil: all. known is what is known of the logs.
	locks int8Array
	known holding

	log, rank, ownLog, ownRank        int4Array
	peerLog, peerRank                 int4Array // of a direct message's other side; zero if there is none
	ids                               uuidArray
	keys, devices, types, refs        textArray
	expires                           int8Array
	publishers                        []int64 // by which a re-send is recognised; zero if none is
	packets                           []byte
	hashes                            map[device]uint64
	qos, offsets, lengths             int4Array
	entryLog, entryRank, entryMessage int4Array
	wills                             int4Array // places of the messages that were wills
	digests, bodies                   []byte
	roomLog                           int4Array       // rooms
	roomVersion                       int8Array       // the versions that their recipients are of
	index                             map[int64]int32 // log to its place in logs
}

func columnsOf(publishes []*postbox.Publish) *columns {
	n, rows := len(publishes), len(publishes)
	for _, p := range publishes {
		rows += len(p.Recipients)
	}
	c := &columns{publishes: publishes, index: make(map[int64]int32, 2*n), hashes: make(map[device]uint64, n), digests: []byte{}, bodies: []byte{}}
	c.collectLogs()
	ints := make([]int32, 9*n)
	cut := func() int4Array { s := ints[:0:n]; ints = ints[n:]; return s }
	c.log, c.rank, c.ownLog, c.ownRank = cut(), cut(), cut(), cut()
	c.peerLog, c.peerRank = cut(), cut()
	c.qos, c.offsets, c.lengths = cut(), cut(), cut()
	c.publishers, c.packets = make([]int64, 0, n), make([]byte, 0, n)
	ints = make([]int32, 3*rows)
	n = rows
	c.entryLog, c.entryRank, c.entryMessage = cut(), cut(), cut()
	n = len(publishes)
	texts := make([]string, 4*n)
	cutText := func() textArray { s := texts[:0:n]; texts = texts[n:]; return s }
	c.keys, c.devices, c.types, c.refs = cutText(), cutText(), cutText(), cutText()
	c.ids = make(uuidArray, 0, n)
	c.expires = make(int8Array, 0, n)
	size := 0
	for _, p := range publishes {
		size += len(p.Message.Body)
	}
	c.bodies = make([]byte, 0, size)
	c.digests = make([]byte, 0, 16*n)
	for i, p := range publishes {
		c.add(int32(i+1), p)
	}
	return c
}

func (c *columns) collectLogs() {
	c.logs = int8Array{}
	seen := func(id int64) {
		if _, ok := c.index[id]; !ok {
			c.index[id] = 0
			c.logs = append(c.logs, id)
		}
	}
	rooms := false
	for _, p := range c.publishes {
		seen(int64(p.Message.Conversation))
		rooms = rooms || p.Message.Room != ""
	}
	c.conversations = len(c.logs)
	for _, p := range c.publishes {
		seen(int64(p.Message.Sender))
		for _, r := range p.Recipients {
			seen(int64(r))
		}
	}
	slices.Sort(c.logs[:c.conversations])
	slices.Sort(c.logs[c.conversations:])
	for i, id := range c.logs {
		c.index[id] = int32(i + 1)
	}
	c.counts = make(int4Array, len(c.logs))
	if rooms {
		c.collectLocks()
	}
}

// collectLocks leaves out the inboxes that get nothing but messages to rooms of
// others.
func (c *columns) collectLocks() {
	locked := make([]bool, len(c.logs))
	for _, p := range c.publishes {
		locked[c.index[int64(p.Message.Conversation)]-1] = true
		locked[c.index[int64(p.Message.Sender)]-1] = true
		if p.Message.Room == "" {
			for _, r := range p.Recipients {
				locked[c.index[int64(r)]-1] = true
			}
		}
	}
	if !slices.Contains(locked, false) {
		return
	}
	for i, id := range c.logs {
		if locked[i] {
			c.locks = append(c.locks, id)
		}
	}
}

// lookAndLock has all logs locked, and their last numbers looked for.
func (c *columns) lookAndLock() {
	c.locks, c.known = nil, unknown(len(c.logs))
}

// take gives out the next rank in a log, and the log's place.
func (c *columns) take(log int64) (place, rank int32) {
	place = c.index[log]
	c.counts[place-1]++
	return place, c.counts[place-1]
}

func (c *columns) add(number int32, p *postbox.Publish) {
	m := p.Message
	log, rank := c.take(int64(m.Conversation))
	own, ownRank := c.take(int64(m.Sender))
	c.log, c.rank = append(c.log, log), append(c.rank, rank)
	c.ownLog, c.ownRank = append(c.ownLog, own), append(c.ownRank, ownRank)
	c.entry(own, ownRank, number)
	var peer, peerRank int32
	for _, r := range p.Recipients {
		place, rank := c.take(int64(r))
		c.entry(place, rank, number)
		if m.Room == "" {
			peer, peerRank = place, rank
		}
	}
	c.peerLog, c.peerRank = append(c.peerLog, peer), append(c.peerRank, peerRank)
	c.ids = append(c.ids, m.ID)
	c.keys = append(c.keys, m.Key)
	c.devices = append(c.devices, m.Device)
	c.types = append(c.types, m.ContentType)
	c.refs = append(c.refs, m.Ref)
	c.expires = append(c.expires, int64(p.Expiry))
	publisher, packet := publisherOf(c.hash(m.Sender, m.Device), p.PacketID)
	c.publishers, c.packets = append(c.publishers, publisher), append(c.packets, packet)
	c.qos = append(c.qos, int32(p.QoS))
	c.offsets = append(c.offsets, int32(len(c.bodies)))
	c.lengths = append(c.lengths, int32(len(m.Body)))
	c.bodies = append(c.bodies, m.Body...)
	c.digests = append(c.digests, p.Digest[:]...)
	if p.Will {
		c.wills = append(c.wills, number)
	}
	if m.Room != "" {
		c.room(log, p.Members)
	}
}

// hash is that of a device that has published something of the batch.
func (c *columns) hash(user postbox.UserID, clientID string) uint64 {
	d := device{user, clientID}
	h, ok := c.hashes[d]
	if !ok {
		h = d.hash()
		c.hashes[d] = h
	}
	return h
}

// room notes which version of a room the recipients of a message are of: of one
// batch they are of one version.
func (c *columns) room(log int32, version int64) {
	for i, l := range c.roomLog {
		if l == log && c.roomVersion[i] == version {
			return
		}
	}
	c.roomLog, c.roomVersion = append(c.roomLog, log), append(c.roomVersion, version)
}

// stale marks the publishes of rooms that have another version by now.
func (c *columns) stale(places []int64) {
	for _, place := range places {
		for i, p := range c.publishes {
			if c.log[i] == c.roomLog[place-1] {
				p.Stale = true
			}
		}
	}
}

func (c *columns) entry(log, rank, message int32) {
	c.entryLog = append(c.entryLog, log)
	c.entryRank = append(c.entryRank, rank)
	c.entryMessage = append(c.entryMessage, message)
}

// messages are the numbers of each message, in the order of p_messages.
func (c *columns) messages() matrix {
	m := matrix{width: 9, all: make([]int32, 0, 9*len(c.log))}
	for i, log := range c.log {
		m.all = append(m.all, log, c.rank[i], c.ownLog[i], c.ownRank[i], c.peerLog[i], c.peerRank[i], c.qos[i], c.offsets[i], c.lengths[i])
	}
	return m
}

// number fills in what the database gave: the heads before the batch, and the
// times of its conversations in milliseconds.
func (c *columns) number(heads, stamps []int64) {
	entry := 0
	next := func() postbox.InboxSeq {
		n := heads[c.entryLog[entry]-1] + int64(c.entryRank[entry])
		entry++
		return postbox.InboxSeq(n)
	}
	for i, p := range c.publishes {
		log := c.log[i] - 1
		p.Numbered(postbox.Seq(heads[log]+int64(c.rank[i])), next(), time.UnixMilli(stamps[log]))
		p.InboxSeqs = p.InboxSeqs[:0]
		for range p.Recipients {
			p.InboxSeqs = append(p.InboxSeqs, next())
		}
	}
}

// orNull is the column, or nil if it says nothing of any message: NULL costs
// PostgreSQL less than an array.
func orNull[S ~[]E, E comparable](column S) S {
	var none E
	if slices.ContainsFunc(column, func(e E) bool { return e != none }) {
		return column
	}
	return nil
}

// idColumns are QoS 2 publishes as arguments of postbox.append.
type idColumns struct {
	devices  int8Array
	packets  int4Array
	messages uuidArray
	digests  []byte
}

func idColumnsOf(all []postbox.OpenPublish) idColumns {
	var c idColumns // NULL if there are none
	for _, o := range all {
		c.devices = append(c.devices, int64(o.Device))
		c.packets = append(c.packets, int32(o.PacketID))
		c.messages = append(c.messages, o.Message)
		c.digests = append(c.digests, o.Digest[:]...)
	}
	return c
}
