package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// roomRun is the state of one Room.
type roomRun struct {
	o       RoomOptions
	run     uint32
	started time.Time
	from    int64 // of the measuring window, in nanoseconds since the start
	to      int64

	mu           sync.Mutex // guards all below
	acknowledged int
	delivered    int
	sent         int
	acks         histogram
	last         histogram
	spread       map[roomMessage]*spread
	order        []roomMessage // by seq, less that of the first one
	first        int64         // the lowest seq of the run; zero: none yet
	faults       roomFaults
}

// roomMessage names a message of the run; none is the zero value.
type roomMessage struct {
	sender uint16
	number uint32 // its counter and one
}

// spread is how far a message has come.
type spread struct {
	sent    int64
	devices int
}

// Room writes to a room from some of its members, reads on devices of all who are
// online, and checks that each has every message, in the one order of the room.
func Room(ctx context.Context, o RoomOptions) (*RoomRun, error) {
	r := &roomRun{o: o, run: rand.Uint32(), spread: make(map[roomMessage]*spread)}
	connecting, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	conns := make([]net.Conn, len(o.Online))
	early := make([][]byte, len(o.Online))
	senders := make([]net.Conn, o.Senders)
	defer func() {
		for _, c := range append(conns, senders...) {
			if c != nil {
				_, _ = c.Write([]byte{typeDisconnect, 0})
				_ = c.Close()
			}
		}
	}()
	err := each(connecting, len(o.Online), func(ctx context.Context, i int) (err error) {
		conns[i], early[i], err = r.enter(ctx, "r", i, "inbox/"+o.Online[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(connecting, o.Senders, func(ctx context.Context, i int) (err error) {
		senders[i], _, err = r.enter(ctx, "s", i, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	if o.Connected != nil {
		o.Connected()
	}
	r.started = time.Now()
	r.from, r.to = int64(o.WarmUp), int64(o.WarmUp+o.Duration)
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() {
		for _, c := range append(conns, senders...) {
			_ = c.SetDeadline(time.Now())
		}
	})()
	done := make(chan struct{}) // all is there, or it is not waited for any more
	for i, c := range conns {
		group.Go(func() error { return r.read(i, c, early[i], done) })
	}
	writers, _ := errgroup.WithContext(ctx)
	for i, c := range senders {
		writers.Go(func() error { return r.write(i, c) })
	}
	if err := writers.Wait(); err != nil {
		return nil, err
	}
	r.drain(ctx)
	close(done)
	for _, c := range conns {
		_ = c.SetDeadline(time.Now())
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return r.report(), nil
}

func (r *roomRun) now() int64 { return int64(time.Since(r.started)) }

// enter connects one member.
func (r *roomRun) enter(ctx context.Context, kind string, i int, filter string) (conn net.Conn, early []byte, err error) {
	var dialer net.Dialer
	if conn, err = dialer.DialContext(ctx, "tcp", r.o.Address); err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	who := Options{Password: r.o.Password, Passwords: r.o.Passwords}
	id := who.identityOf(fmt.Sprintf("b%08x%s%d", r.run, kind, i+1), r.o.Online[i])
	if _, err = connect(conn, MQTT311, id, false); err == nil && filter != "" {
		early, err = subscribe(conn, MQTT311, filter)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("connect %s as %q: %w", r.o.Address, id.user, err)
	}
	return conn, early, nil
}

// write publishes until the window is over, as fast as acknowledgements allow or
// as the timetable says, and waits for the rest of them.
func (r *roomRun) write(i int, conn net.Conn) error {
	body := newBody(r.o.BodySize)
	packet, idAt, bodyAt := publishTemplate(MQTT311, "room/"+r.o.Room, body)
	var mu sync.Mutex
	times := make(map[uint16]int64)
	room := make(chan struct{}, r.o.Window)
	failed := make(chan error, 1)
	go func() {
		in := bufio.NewReader(conn)
		for {
			header, body, err := readPacket(in)
			if err != nil {
				failed <- err
				return
			}
			if header&typeMask != typePuback {
				continue
			}
			id, _, err := parsePuback(body)
			if err != nil {
				failed <- err
				return
			}
			mu.Lock()
			sent, ok := times[id]
			delete(times, id)
			mu.Unlock()
			if ok {
				r.acked(sent)
				<-room
			}
		}
	}()
	limit := time.NewTimer(r.o.WarmUp + r.o.Duration + r.o.Drain)
	defer limit.Stop()
	wait := func() error {
		select {
		case room <- struct{}{}:
			return nil
		case err := <-failed:
			return fmt.Errorf("sender %d: %w", i+1, err)
		case <-limit.C:
			return fmt.Errorf("sender %d: publishes were not acknowledged in time", i+1)
		}
	}
	for counter := uint32(0); r.now() < r.to; counter++ {
		if err := wait(); err != nil {
			return err
		}
		at := r.now()
		if r.o.Rate > 0 {
			due := int64(float64(int(counter)*r.o.Senders+i) / r.o.Rate * 1e9)
			if due >= r.to {
				<-room
				break
			}
			time.Sleep(time.Duration(due - at))
			at = due
		}
		id := uint16(counter%60000) + 1
		binary.BigEndian.PutUint16(packet[idAt:], id)
		stamp{run: r.run, sender: uint16(i), counter: counter, sent: at}.put(packet[bodyAt:])
		mu.Lock()
		times[id] = at
		mu.Unlock()
		r.mu.Lock()
		r.sent++
		r.spread[roomMessage{uint16(i), counter + 1}] = &spread{sent: at}
		r.mu.Unlock()
		if _, err := conn.Write(packet); err != nil {
			return fmt.Errorf("sender %d: %w", i+1, err)
		}
	}
	for range r.o.Window { // until nothing is on its way
		if err := wait(); err != nil {
			return err
		}
	}
	return nil
}

func (r *roomRun) acked(sent int64) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if now >= r.from && now < r.to {
		r.acknowledged++
	}
	if sent >= r.from && sent < r.to {
		r.acks.record(now - sent)
	}
}

// read takes what comes to a device until done.
func (r *roomRun) read(i int, conn net.Conn, early []byte, done chan struct{}) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	d := &roomDevice{run: r, padding: newBody(r.o.BodySize)[MinBodySize:]}
	ended := func(err error) error {
		select {
		case <-done: // and so it was cut off
			return nil
		default:
			return fmt.Errorf("device %d: %w", i+1, err)
		}
	}
	var acks []byte
	for {
		header, body, size, err := splitPacket(early)
		if err != nil {
			return err
		}
		if size == 0 {
			early = early[:0]
			header, body, err = readPacket(in)
		} else {
			early = early[size:]
		}
		if err != nil {
			return ended(err)
		}
		if header&typeMask != typePublish {
			continue
		}
		p, err := parsePublish(MQTT311, header, body)
		if err != nil {
			return err
		}
		acks = append(acks, typePuback, 2, byte(p.packetID>>8), byte(p.packetID))
		d.take(p.payload)
		if in.Buffered() == 0 {
			if _, err := conn.Write(acks); err != nil {
				return ended(err)
			}
			acks = acks[:0]
		}
	}
}

// roomDevice is what one device has seen.
type roomDevice struct {
	run     *roomRun
	padding []byte
	next    int64 // the seq that must come; zero: the first of the run
}

// take checks a delivery.
func (d *roomDevice) take(payload []byte) {
	s, intact, ok := findStamp(payload, d.padding)
	if !ok || s.run != d.run.run {
		return // a change of the room, or another run's
	}
	now := d.run.now()
	seq := seqOf(payload)
	r := d.run
	r.mu.Lock()
	defer r.mu.Unlock()
	m := roomMessage{s.sender, s.counter + 1}
	if r.first == 0 || seq < r.first {
		if r.first != 0 {
			r.order = append(make([]roomMessage, r.first-seq), r.order...)
		}
		r.first = seq
	}
	if d.next == 0 {
		d.next = seq
	}
	at := int(seq - r.first)
	for len(r.order) <= at {
		r.order = append(r.order, roomMessage{})
	}
	if r.order[at] == (roomMessage{}) {
		r.order[at] = m
	}
	switch {
	case !intact:
		r.faults.Corrupt++
	case seq < d.next:
		r.faults.Repeated++
		return
	case r.order[at] != m: // a hole shows as what is missing in the end
		r.faults.Disordered++
	}
	d.next = seq + 1
	if now >= r.from && now < r.to {
		r.delivered++
	}
	if sp := r.spread[m]; sp != nil {
		if sp.devices++; sp.devices == len(r.o.Online) && sp.sent >= r.from && sp.sent < r.to {
			r.last.record(now - sp.sent)
		}
	}
}

// seqOf reads the position in the room; 0 if there is none.
func seqOf(payload []byte) int64 {
	const name = `,"seq":`
	at := bytes.Index(payload, []byte(name))
	if at < 0 {
		return 0
	}
	rest := payload[at+len(name):]
	end := bytes.IndexByte(rest, ',')
	if end < 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(rest[:end]), 10, 64)
	return n
}

// drain waits until all that was sent is everywhere.
func (r *roomRun) drain(ctx context.Context) {
	limit := time.After(r.o.Drain)
	for {
		r.mu.Lock()
		left := 0
		for _, s := range r.spread {
			if s.devices < len(r.o.Online) {
				left++
			}
		}
		r.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-limit:
			return
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *roomRun) report() *RoomRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spread {
		r.faults.Missing += max(0, len(r.o.Online)-s.devices)
	}
	seconds := r.o.Duration.Seconds()
	return &RoomRun{
		Sent: r.sent, Messages: float64(r.acknowledged) / seconds, Entries: float64(r.acknowledged) * float64(r.o.Members) / seconds,
		Deliveries: float64(r.delivered) / seconds, Acknowledgement: r.acks.latency(), LastMember: r.last.latency(),
		Missing: r.faults.Missing, Repeated: r.faults.Repeated, Disordered: r.faults.Disordered, Corrupt: r.faults.Corrupt,
	}
}
