package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"postbox"
	"postbox/inbox"
)

// Mail attaches streams to inboxes: an inbox.Hub.
type Mail interface {
	Subscribe(ctx context.Context, d inbox.Device, at inbox.Start, out inbox.Outlet) (*inbox.Subscription, error)
}

// Signals tells streams what is not kept: an inbox.Signals.
type Signals interface {
	Listen(user postbox.UserID, l inbox.Listener)
	Leave(user postbox.UserID, l inbox.Listener)
}

// Lineage knows the epochs of the database.
type Lineage interface {
	// PositionSince translates a position of an earlier epoch into the numbers
	// of the one in force; false: it is of no epoch of this database.
	PositionSince(ctx context.Context, user postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error)
	// Ahead is told that a client knows of more entries of the epoch in force
	// than there are.
	Ahead(ctx context.Context)
}

const (
	// streamWindow is how many entries may be on their way to a peer.
	streamWindow = 256
	// streamComment is how often a quiet stream shows that it lives.
	streamComment = 20 * time.Second
	// streamPatience is how long a peer may read nothing.
	streamPatience = 30 * time.Second
)

// stream is the inbox as Server-Sent Events (docs/spec.md §7; the HTML standard,
// §9.2). It ends with the peer, with the user's token, with a Kick, and with the
// server; a browser then comes back with the number of the last event.
func (a *API) stream(w http.ResponseWriter, r *http.Request) {
	who, err := a.authenticateStream(r)
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	if !a.takesMore(w, r, who) {
		return
	}
	since, err := startOf(r)
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	ctx, release, err := a.hold(r.Context(), r, who, a.authenticateStream)
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	defer release()
	out := newOutlet(a.o.Epoch)
	sub, err := a.subscribe(ctx, who, since, out)
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	defer sub.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
	if sub.Unheard() == "" {
		out.position(sub.Cursor())
	}
	a.o.Signals.Listen(who.ID, out)
	defer a.o.Signals.Leave(who.ID, out)
	sub.Resume()
	serveEvents(ctx, w, out, sub)
}

// serveEvents writes events until ctx ends, or the peer does not take them.
func serveEvents(ctx context.Context, w http.ResponseWriter, out *outlet, sub *inbox.Subscription) {
	control := http.NewResponseController(w)
	quiet := time.NewTicker(streamComment)
	defer quiet.Stop()
	for {
		events, ids := out.take()
		if len(events) == 0 {
			select {
			case <-out.news:
				continue
			case <-quiet.C:
				events = comment
			case <-ctx.Done():
				return
			}
		}
		_ = control.SetWriteDeadline(time.Now().Add(streamPatience))
		if _, err := w.Write(events); err != nil {
			return
		}
		if err := control.Flush(); err != nil || ctx.Err() != nil {
			return
		}
		for _, id := range ids {
			sub.Ack(id)
		}
		sub.Resume()
		quiet.Reset(streamComment)
	}
}

// startOf reads where the stream is to begin: nil is at the end. A browser that
// comes back has the same address as at first and says in the header what it has
// seen since, so the header counts.
func startOf(r *http.Request) (*postbox.Position, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, postbox.Errorf(postbox.CodeInvalid, "the parameters cannot be read: write ?after={epoch}:{inbox_seq}")
	}
	for name, values := range query {
		if name != "after" && name != "token" || len(values) > 1 {
			return nil, postbox.Errorf(postbox.CodeInvalid, "unknown or repeated field %.80q: the stream takes after and token", name)
		}
	}
	from := query.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		from = last
	} else if !query.Has("after") {
		return nil, nil
	}
	p, err := postbox.ParsePosition(from)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// subscribe attaches the stream to the inbox.
func (a *API) subscribe(ctx context.Context, who Identity, since *postbox.Position, out *outlet) (*inbox.Subscription, error) {
	at := inbox.Start{AtEnd: true}
	switch {
	case since == nil:
	case since.Epoch != "" && since.Epoch != a.o.Epoch:
		after, known, err := a.o.Lineage.PositionSince(ctx, who.ID, *since)
		if err != nil {
			return nil, err
		}
		at = inbox.Start{After: after, AtEnd: !known, Lost: postbox.CodeEpochChanged}
	default:
		at = inbox.Start{After: since.Seq}
	}
	// At QoS 1 an entry counts as delivered when it has been written to the peer.
	d := inbox.Device{User: who.ID, QoS: 1, Window: streamWindow}
	sub, err := a.o.Mail.Subscribe(ctx, d, at, out)
	if err != nil {
		return nil, err
	}
	if since != nil && since.Epoch == a.o.Epoch && sub.Unheard() != "" {
		a.o.Lineage.Ahead(ctx)
	}
	return sub, nil
}
