package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// again is how long a device that was not let in waits before it tries once more.
const again = 50 * time.Millisecond

// crowd is the devices of one Connect.
type crowd struct {
	o       ConnectOptions
	door    door
	run     uint32
	members []member
	sent    int // rounds of messages

	mu     sync.Mutex // guards the report while devices are heard
	report *ConnectRun
}

// member is one device.
type member struct {
	identity
	login int
	caller
}

// Connect makes idle connections, looks at the server's memory, cuts them all, waits
// until all are back with their sessions, and removes those. After each arrival every
// device must hear one message.
func Connect(ctx context.Context, o ConnectOptions) (*ConnectRun, error) {
	if err := checkFiles(o.Connections, o.ServerPID); err != nil {
		return nil, err
	}
	if o.patience == 0 {
		o.patience = 10 * time.Second
	}
	c := &crowd{o: o, door: newDoor(o.Address, o.Connections), run: rand.Uint32(), report: &ConnectRun{
		Name: o.Name, Address: o.Address, Connections: o.Connections, Cut: "all sockets reset at once",
	}}
	for i := range o.Connections {
		who := i % len(o.Logins)
		c.members = append(c.members, member{login: who, identity: identity{
			fmt.Sprintf("b%08x-%d", c.run, i+1), o.Logins[who].User, o.Logins[who].Password,
		}})
	}
	defer c.cut()
	before, err := footprintOf(ctx, o.ServerPID, o.HeapURL)
	if err != nil {
		return nil, err
	}
	if c.report.First, err = c.come(ctx, false); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if o.ServerPID != 0 || o.HeapURL != "" {
		if err := wait(ctx, o.Settle); err != nil {
			return nil, err
		}
		after, err := footprintOf(ctx, o.ServerPID, o.HeapURL)
		if err != nil {
			return nil, err
		}
		c.report.Memory = memoryOf(before, after, o.Connections)
	}
	if err := c.call(ctx); err != nil {
		return nil, err
	}
	if err := c.part(); err != nil {
		return nil, err
	}
	if c.report.Storm, err = c.come(ctx, true); err != nil {
		return nil, fmt.Errorf("come back: %w", err)
	}
	if err := c.call(ctx); err != nil {
		return nil, err
	}
	c.cut()
	return c.report, c.forget(ctx)
}

// part ends all connections, from here or by ending the server.
func (c *crowd) part() error {
	if c.o.Kill {
		c.report.Cut = "server killed"
		if err := syscall.Kill(c.o.ServerPID, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the server, process %d: %w", c.o.ServerPID, err)
		}
		c.o.ServerPID, c.o.DatabasePID = 0, 0 // the next ones have other numbers
	}
	c.cut()
	return nil
}

func (c *crowd) cut() {
	for i := range c.members {
		c.members[i].cut()
	}
}

// come connects all, each until it is let in, and for the first time has them
// subscribe.
func (c *crowd) come(ctx context.Context, back bool) (a Arrival, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	var mu sync.Mutex // guards what follows, and a
	var took histogram
	var times []time.Duration
	used, err := newEffort(c.o.ServerPID, c.o.DatabasePID)
	if err != nil {
		return a, err
	}
	began := time.Now()
	err = c.each(ctx, func(ctx context.Context, i int) error {
		m := &c.members[i]
		for first := time.Now(); ; {
			w, err := c.enter(ctx, i, true)
			if err == nil && w.code == 0 && !back {
				err = m.within(ctx, func() error {
					_, err := subscribe(m, MQTT311, c.topic(m.login))
					return err
				})
			}
			mu.Lock()
			a.Attempts++
			if err == nil && w.code == 0 {
				took.record(int64(time.Since(first)))
				times = append(times, time.Since(began))
				if w.present != back {
					a.WithoutSession++
				}
				mu.Unlock()
				return nil
			}
			if err == nil {
				err = fmt.Errorf("refused with code 0x%02X", w.code)
				if a.Refused == nil {
					a.Refused = map[string]int{}
				}
				a.Refused[fmt.Sprintf("0x%02X", w.code)]++
			}
			mu.Unlock()
			m.cut()
			if !back || wait(ctx, again) != nil {
				return fmt.Errorf("%s (%s) to %s: %w", m.clientID, m.user, c.o.Address, err)
			}
		}
	})
	if err != nil {
		return a, err
	}
	a.Took = time.Since(began).Seconds()
	a.Rate, a.Latency = float64(len(c.members))/a.Took, took.latency()
	a.EachSecond = make([]int, int(a.Took)+1)
	for _, t := range times {
		a.EachSecond[min(int(t.Seconds()), len(a.EachSecond)-1)]++
	}
	a.Server, a.Database, err = used.per(float64(len(c.members)) / 1000)
	return a, err
}

func (c *crowd) topic(login int) string {
	o := Options{Topic: c.o.Topic, RecipientUser: c.o.Logins[login].User}
	return o.topicOf(login)
}

// enter opens a member's connection and introduces it.
func (c *crowd) enter(ctx context.Context, i int, session bool) (w welcome, err error) {
	m := &c.members[i]
	if m.caller, err = c.door.open(ctx, i); err != nil {
		return w, err
	}
	err = m.within(ctx, func() (err error) {
		w, err = m.introduce(m.identity, greeting{protocol: MQTT311, session: session})
		return err
	})
	return w, err
}

// each does f for all members, so many at once.
func (c *crowd) each(ctx context.Context, f func(ctx context.Context, i int) error) error {
	return eachOf(ctx, c.o.AtOnce, len(c.members), f)
}

// call sends one message to each user and has every device hear it, and nothing
// more until its ping is answered.
func (c *crowd) call(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	c.sent++
	sender, err := c.door.open(ctx, 0)
	if err != nil {
		return err
	}
	defer sender.cut()
	id := identity{fmt.Sprintf("b%08x-s", c.run), c.o.Sender.User, c.o.Sender.Password}
	body := newBody(MinBodySize)
	err = sender.within(ctx, func() error {
		if _, err := sender.admitted(id, greeting{protocol: MQTT311}); err != nil {
			return err
		}
		return pump(sender, 64, min(len(c.o.Logins), len(c.members)), func(i int) (string, []byte) {
			stamp{run: c.run, sender: uint16(i), counter: uint32(c.sent)}.put(body)
			return c.topic(i), body
		})
	})
	if err != nil {
		return err
	}
	return c.each(ctx, func(ctx context.Context, i int) error {
		m := &c.members[i]
		err := m.within(ctx, func() error { return c.hear(m) })
		if err != nil {
			return fmt.Errorf("%s (%s) was idle and is gone: %w", m.clientID, m.user, err)
		}
		return nil
	})
}

// hear reads what has come to a device. All was acknowledged to the sender, so a
// ping that is answered first has nothing before it.
func (c *crowd) hear(m *member) error {
	if _, err := m.Write([]byte{typePingreq, 0}); err != nil {
		return err
	}
	heard := 0
	for ponged := false; !ponged || heard == 0; {
		if ponged {
			// Deliveries are not in step with the connection's own answers.
			_ = m.SetReadDeadline(time.Now().Add(c.o.patience))
		}
		header, body, err := readPacket(m)
		if ponged && err != nil {
			break
		}
		if err != nil {
			return err
		}
		switch header & typeMask {
		case typePingresp:
			ponged = true
			continue
		case typePublish:
		default:
			return unexpected(header, body)
		}
		p, err := parsePublish(MQTT311, header, body)
		if err != nil {
			return err
		}
		if _, err := m.Write([]byte{typePuback, 2, byte(p.packetID >> 8), byte(p.packetID)}); err != nil {
			return err
		}
		c.mu.Lock()
		s, intact, ok := findStamp(p.payload, nil)
		switch {
		case !ok || !intact || s.run != c.run:
			c.report.Corrupt++
		case int(s.sender) != m.login:
			c.report.Misrouted++
		case int(s.counter) < c.sent && header&flagDup != 0:
			c.report.Resent++
		case int(s.counter) < c.sent:
			c.report.Repeated++
		default:
			if heard++; heard > 1 {
				c.report.Repeated++
			}
		}
		c.mu.Unlock()
	}
	if heard > 0 {
		return c.settle(m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Missing++
	return nil
}

// settle waits until the server has read what a device has acknowledged: the sockets
// are reset next, and what was not read then is sent again.
func (c *crowd) settle(m *member) error {
	if _, err := m.Write([]byte{typePingreq, 0}); err != nil {
		return err
	}
	for {
		header, body, err := readPacket(m)
		switch {
		case err != nil:
			return err
		case header&typeMask == typePingresp:
			return nil
		case header&typeMask != typePublish:
			return unexpected(header, body)
		}
		c.mu.Lock()
		c.report.Repeated++
		c.mu.Unlock()
	}
}

// forget removes what the broker has stored.
func (c *crowd) forget(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	return c.each(ctx, func(ctx context.Context, i int) error {
		w, err := c.enter(ctx, i, false)
		if err != nil || w.code != 0 {
			return errors.Join(fmt.Errorf("remove the session of %s (code 0x%02X)", c.members[i].clientID, w.code), err)
		}
		_, _ = c.members[i].Write([]byte{typeDisconnect, 0})
		c.members[i].cut()
		return nil
	})
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
