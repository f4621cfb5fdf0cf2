package importer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"postbox"
	"postbox/store"
)

// A batch is what is stored in one transaction.
const (
	batchRows  = 2000
	batchBytes = 4 << 20
)

// retryFor is how long a batch is tried while the database is away.
const retryFor = time.Minute

// batches calls f for the messages in the order of their times. The accounts of all
// must be known; those of others are left out.
func (p *Plan) batches(f func([]store.ImportMessage, []record) error) error {
	var batch []store.ImportMessage
	var records []record
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := f(batch, records)
		batch, records, size = batch[:0], records[:0], 0
		return err
	}
	twins := twins{}
	err := p.spool.each(func(r record) error {
		key := twins.key(r)
		sender, receiver := &p.people.all[r.sender], &p.people.all[r.receiver]
		batch = append(batch, store.ImportMessage{
			Sender: sender.account, Recipient: receiver.account, SentAt: time.UnixMilli(r.at).UTC(),
			Key: key, ContentType: p.o.ContentType, Body: r.body, Read: r.read,
			Digest: postbox.DigestOf("import", p.o.ContentType, "", 0, r.body),
		})
		records = append(records, r)
		if size += r.size(); len(batch) < batchRows && size < batchBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// twins tells messages without an id apart that are the same in all, the time too.
type twins struct {
	at   int64
	seen map[string]int
}

func (t *twins) key(r record) string {
	if t.seen == nil || t.at != r.at {
		t.at, t.seen = r.at, map[string]int{}
	}
	t.seen[r.key]++
	if n := t.seen[r.key]; n > 1 {
		return r.key + "." + strconv.Itoa(n)
	}
	return r.key
}

// foresee finds out what would become of the messages.
func (p *Plan) foresee(ctx context.Context) error {
	im, err := p.db.OpenImport(p.o.Late)
	if err != nil {
		return err
	}
	defer im.Close()
	incoming := make([]int, len(p.people.all))
	err = p.batches(func(batch []store.ImportMessage, records []record) error {
		found, err := im.Foresee(ctx, batch)
		if err != nil {
			return err
		}
		for i, f := range found {
			switch r := records[i]; {
			case f.Changed:
				p.Messages.Changed++
				fallthrough
			case f.Seq != 0:
				p.Messages.There++
			default:
				p.Messages.New++
				if f.Late {
					p.Messages.Late++
				}
				if incoming[r.sender]++; r.receiver != r.sender {
					incoming[r.receiver]++
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.rings(ctx, incoming)
}

// rings finds the accounts whose devices would get many messages.
func (p *Plan) rings(ctx context.Context, incoming []int) error {
	at := make(map[postbox.UserID]int)
	var users []postbox.UserID
	for i, n := range incoming {
		if x := &p.people.all[i]; n > p.o.mostDelivered() && x.account != 0 {
			at[x.account] = i
			users = append(users, x.account)
		}
	}
	found, err := p.db.WithDevices(ctx, users)
	for _, u := range found {
		p.Devices = append(p.Devices, DeviceReport{User: string(p.people.all[at[u]].Name), Messages: incoming[at[u]]})
	}
	return err
}

// Run does what the plan says: makes the accounts, stores the messages, and then
// gives the accounts their passwords. Whatever ends it, it can be begun anew with
// another plan, and goes on where it was.
func (p *Plan) Run(ctx context.Context) error {
	if all := p.Obstacles(p.o); len(all) > 0 {
		return errors.New("nothing was written: " + all[0])
	}
	if err := p.people.enroll(ctx, p.db, p.Source); err != nil {
		return err
	}
	im, err := p.db.OpenImport(p.o.Late)
	if err != nil {
		return err
	}
	defer im.Close()
	began, done := p.o.Now(), 0
	var n store.ImportCount
	err = p.batches(func(batch []store.ImportMessage, _ []record) error {
		count, err := p.append(ctx, im, batch)
		n.Add(count)
		done += len(batch)
		p.o.Progress(done, p.spool.total, "written")
		return err
	})
	p.Seconds = p.o.Now().Sub(began).Seconds()
	m := &p.Messages
	m.New, m.There, m.Changed, m.Late = n.Added, n.There, n.Changed, n.Late
	if err == nil && !p.noUsers { // else nobody's password is known
		err = p.people.open(ctx, p.db, p.Source)
	}
	// Who is connected hears of what was stored, also if that is not all.
	told := context.WithoutCancel(ctx)
	if errors.Is(err, store.ErrLate) {
		err = fmt.Errorf("somebody has written meanwhile, and what is left of that conversation is older: with --late it comes after that and takes its time: %w", err)
	}
	if err := errors.Join(err, p.db.EndImport(told, err == nil && n.Added > 10_000)); err != nil {
		return fmt.Errorf("%d messages were imported; run the same again to go on: %w", n.Added, err)
	}
	p.Done = true
	return nil
}

// append stores a batch, also through a restart of the database.
func (p *Plan) append(ctx context.Context, im *store.Import, batch []store.ImportMessage) (store.ImportCount, error) {
	pause := 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		n, err := im.Append(ctx, batch)
		if err == nil || !errors.Is(err, postbox.ErrUnavailable) || waited >= retryFor {
			return n, err
		}
		select {
		case <-ctx.Done():
			return n, err
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}
