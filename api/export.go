package api

import (
	"context"
	"io"
	"time"

	"postbox"
)

// exportPage is how many messages are read at once. No transaction lasts for
// longer than one page.
const exportPage = 500

// Exporter writes all that is kept of a user, as JSON Lines: docs/spec.md §7.
type Exporter struct {
	Archive Archive
	People  People
	Devices Devices
	Now     func() time.Time
}

// Progress is how far an export is. Total is what there was to write when it
// began, and more than there is to read where retention has removed messages.
type Progress struct{ Messages, Total int64 }

// Export writes one JSON object a line: export, account, blocks, devices, then
// each conversation with its messages after it, oldest first; and at last end,
// without which it is not whole. Its memory does not depend on how much there is.
// progress is called after each page and may be nil.
func (e Exporter) Export(ctx context.Context, user postbox.UserID, w io.Writer, progress func(Progress)) error {
	x := export{Exporter: e, user: user, w: w, progress: progress}
	if x.progress == nil {
		x.progress = func(Progress) {}
	}
	return x.run(ctx)
}

// export is one that runs.
type export struct {
	Exporter
	user     postbox.UserID
	w        io.Writer
	progress func(Progress)
	line     object
	done     Progress
}

// begin begins a line; write ends it.
func (x *export) begin(kind string) *object {
	x.line.buf = x.line.buf[:0]
	x.line.text("type", kind)
	return &x.line
}

func (x *export) write() error {
	x.line.buf = append(x.line.end(), '\n')
	_, err := x.w.Write(x.line.buf)
	return err
}

func (x *export) run(ctx context.Context) error {
	profile, err := x.People.Profile(ctx, x.user)
	if err != nil {
		return err
	}
	places, err := x.places(ctx)
	if err != nil {
		return err
	}
	head := x.begin("export")
	head.text("user", string(profile.Name))
	head.moment("exported_at", x.Now())
	head.number("conversations", int64(len(places)))
	head.number("messages", x.done.Total)
	if err := x.write(); err != nil {
		return err
	}
	x.begin("account").profile(profile)
	if err := x.write(); err != nil {
		return err
	}
	if err := x.belongings(ctx); err != nil {
		return err
	}
	for _, p := range places {
		if err := x.conversation(ctx, p); err != nil {
			return err
		}
	}
	last := x.begin("end")
	last.number("conversations", int64(len(places)))
	last.number("messages", x.done.Messages)
	return x.write()
}

// shelf is a conversation to be written.
type shelf struct {
	postbox.Place
	read postbox.Seq
}

// places lists the conversations, without their messages.
func (x *export) places(ctx context.Context) ([]shelf, error) {
	var all []shelf
	var from postbox.ListBound
	for {
		page, err := x.Archive.Conversations(ctx, x.user, from, exportPage)
		if err != nil {
			return nil, err
		}
		for _, s := range page {
			all = append(all, shelf{s.Place, s.ReadSeq})
			if s.Last != nil {
				x.done.Total += int64(s.Last.Seq)
			}
		}
		if len(page) < exportPage {
			return all, nil
		}
		if last := page[len(page)-1]; last.Last != nil {
			from.Before = last.Last.ID
		} else {
			from.AfterRoom = last.Room
		}
	}
}

// belongings writes blocks and devices.
func (x *export) belongings(ctx context.Context) error {
	blocks, err := x.People.Blocks(ctx, x.user)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		x.begin("block").text("user", string(b))
		if err := x.write(); err != nil {
			return err
		}
	}
	devices, err := x.Devices.Devices(ctx, x.user)
	if err != nil {
		return err
	}
	for _, d := range devices {
		x.begin("device").device(d)
		if err := x.write(); err != nil {
			return err
		}
	}
	return nil
}

// conversation writes a conversation and what the user may read of it.
func (x *export) conversation(ctx context.Context, s shelf) error {
	about := x.begin("conversation")
	if s.Room != "" {
		about.text("room", string(s.Room))
	} else {
		about.text("with", string(s.With))
	}
	about.number("read_seq", int64(s.read))
	if err := x.write(); err != nil {
		return err
	}
	after := postbox.Bound{Set: true}
	for {
		page, err := x.Archive.Page(ctx, s.Place, postbox.PageRequest{After: after, Limit: exportPage})
		if err != nil {
			return err
		}
		now := x.Now()
		for _, m := range page.Messages {
			line := x.begin("message")
			line.key("message")
			line.buf = postbox.AppendMessage(line.buf, m, m.Sender == x.user, now)
			if err := x.write(); err != nil {
				return err
			}
			after.Seq = m.Seq
		}
		x.done.Messages += int64(len(page.Messages))
		x.progress(x.done)
		if !page.HasAfter || len(page.Messages) == 0 {
			return nil
		}
	}
}
