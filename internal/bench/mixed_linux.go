package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// partWorkers is how many of one kind may be on their way at once.
const partWorkers = 8

// Mixed sends direct messages alone, then all kinds at once, and fills in the report.
func Mixed(ctx context.Context, o MixedOptions, report *MixedReport) (err error) {
	if report.Alone, err = Send(ctx, o.Direct); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	timed := func(kind string, rate float64) offer {
		return offer{kind: kind, rate: rate, workers: partWorkers, warmUp: o.Direct.WarmUp, duration: o.Direct.Duration}
	}
	group.Go(func() (err error) {
		report.Direct, err = Send(ctx, o.Direct)
		return err
	})
	if o.Room.Rate > 0 {
		group.Go(func() (err error) {
			report.Room, err = Room(ctx, o.Room)
			return err
		})
	}
	var parts [3]*Part
	for i, part := range []struct {
		kind string
		rate float64
		do   func(context.Context, MixedOptions, offer) (*Part, error)
	}{
		{"history", o.HistoryRate, offerHistory}, {"read", o.ReadRate, offerReads}, {"reconnect", o.ReconnectRate, offerReconnects},
	} {
		if part.rate > 0 {
			group.Go(func() (err error) {
				if parts[i], err = part.do(ctx, o, timed(part.kind, part.rate)); err != nil {
					return fmt.Errorf("%s: %w", part.kind, err)
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range parts {
		if p != nil {
			report.Parts = append(report.Parts, p)
		}
	}
	return nil
}

// readersOf connects one reader for each worker.
func readersOf(ctx context.Context, o MixedOptions) (readers []*historyReader, leave func(), err error) {
	var leaves []func()
	leave = func() {
		for _, l := range leaves {
			l()
		}
	}
	options := &HistoryOptions{Address: o.API, Shelves: o.Shelves, Limit: o.Limit, Deep: true}
	for range partWorkers {
		r := &historyReader{o: options}
		one, err := r.open(ctx)
		if err != nil {
			leave()
			return nil, nil, err
		}
		leaves = append(leaves, one)
		readers = append(readers, r)
	}
	return readers, leave, nil
}

// offerHistory reads pages, and looks at every message of each.
func offerHistory(ctx context.Context, o MixedOptions, offered offer) (*Part, error) {
	readers, leave, err := readersOf(ctx, o)
	if err != nil {
		return nil, err
	}
	defer leave()
	return offered.run(ctx, func(_ context.Context, worker, n int) (string, error) {
		r, s := readers[worker], &o.Shelves[n%len(o.Shelves)]
		last := o.Limit + rand.IntN(s.Length-o.Limit)
		status, err := r.ask(s, last)
		if err != nil {
			return "", err
		}
		return r.look(s, last, status), nil
	})
}

// offerReads moves positions forward, one message at a time in each conversation.
func offerReads(ctx context.Context, o MixedOptions, offered offer) (*Part, error) {
	readers, leave, err := readersOf(ctx, o)
	if err != nil {
		return nil, err
	}
	defer leave()
	return offered.run(ctx, func(_ context.Context, worker, n int) (string, error) {
		r, s := readers[worker], &o.Shelves[n%len(o.Shelves)]
		seq := min(1+n/len(o.Shelves), s.Length)
		status, err := r.post("read", s.Token, fmt.Appendf(nil, `{"with":%q,"seq":%d}`, s.With, seq))
		if err != nil || status == http.StatusOK {
			return "", err
		}
		return fmt.Sprintf("status %d: %.200s", status, r.body.Bytes()), nil
	})
}

// offerReconnects has devices come back to their sessions, say something that is
// answered, and go again.
func offerReconnects(ctx context.Context, o MixedOptions, offered offer) (*Part, error) {
	d, run := newDoor(o.Direct.Address, 1), rand.Uint32()
	// A device is never there twice: as many workers as there are devices at most.
	offered.workers = min(offered.workers, len(o.Devices))
	visit := func(ctx context.Context, i int, session, first bool) (string, error) {
		login := o.Devices[i]
		id := identity{fmt.Sprintf("b%08xd%d", run, i+1), login.User, login.Password}
		conn, err := d.open(ctx, 0)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		wrong := ""
		ctx, cancel := context.WithTimeout(ctx, o.Direct.ConnectTimeout)
		defer cancel()
		err = conn.within(ctx, func() error {
			present, err := conn.admitted(id, greeting{protocol: MQTT311, session: session})
			if err != nil {
				return err
			}
			if first {
				_, err = subscribe(conn, MQTT311, "inbox/"+login.User)
			} else {
				if session && !present {
					wrong = id.clientID + " has lost its session"
				}
				err = ping(conn)
			}
			if err != nil {
				return err
			}
			_, err = conn.Write([]byte{typeDisconnect, 0})
			return err
		})
		return wrong, err
	}
	for i := range o.Devices {
		if _, err := visit(ctx, i, true, true); err != nil {
			return nil, err
		}
	}
	part, err := offered.run(ctx, func(ctx context.Context, worker, n int) (string, error) {
		mine := worker + n/offered.workers%(len(o.Devices)/offered.workers)*offered.workers
		return visit(ctx, mine, true, false)
	})
	for i := range o.Devices {
		_, forgot := visit(context.WithoutCancel(ctx), i, false, false)
		err = errors.Join(err, forgot)
	}
	return part, err
}

// ping waits for the answer to a PINGREQ.
func ping(conn caller) error {
	if _, err := conn.Write([]byte{typePingreq, 0}); err != nil {
		return err
	}
	for {
		header, _, err := readPacket(conn)
		if err != nil || header&typeMask == typePingresp {
			return err
		}
	}
}
