package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"postbox"
)

const (
	// streamSilence is how long a stream may be quiet: the server says something
	// every 20 s.
	streamSilence = time.Minute
	// longestPause is the longest between two attempts to have the stream back.
	longestPause = 10 * time.Second
)

type tailCmd struct {
	serverFlags
	jsonFlag
	Since string `placeholder:"PLACE" help:"Begin after this entry, EPOCH:NUMBER or a number, or with all of the inbox. From now on, if not given."`
	From  string `placeholder:"USER" complete:"users" help:"Only what this user does."`
	Room  string `placeholder:"ROOM" complete:"rooms" help:"Only what is in this room."`
	Count int    `short:"n" placeholder:"N" help:"End after so many entries; signals do not count."`
}

// Help is the end of the command's --help.
func (tailCmd) Help() string {
	return `Prints entries as they are committed, until Ctrl-C. When the connection or the server
goes away it comes back by itself and goes on where it was, without a gap and without
a repeat.

Examples:

  postbox tail
  postbox tail --since all --json >> inbox.jsonl
  postbox tail --since "$(jq -r 'select(.epoch)|"\(.epoch):\(.inbox_seq // .next-1)"' inbox.jsonl | tail -n 1)" --json >> inbox.jsonl
  postbox tail --room dev --count 1`
}

// tailing is one run of tail.
type tailing struct {
	c      *tailCmd
	g      *globals
	server *remote
	list   listing
	last   string // the event to go on after; empty: none has come yet
	shown  int
}

// errEnough ends a stream of which all was printed that was asked for.
var errEnough = errors.New("enough entries")

// outputError is one of our own output: to come back does not help.
type outputError struct{ error }

// Run follows the inbox.
func (c *tailCmd) Run(ctx context.Context, g *globals) error {
	if c.Since == "all" {
		c.Since = "0"
	}
	if _, err := postbox.ParsePosition(c.Since); c.Since != "" && err != nil {
		return usageError("--since: " + err.Error() + ", or all")
	}
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	t := &tailing{c: c, g: g, server: server, list: listing{s: newScreen(g)}}
	err = t.follow(ctx)
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil // all that was asked for
	}
	return err
}

// follow reads the stream, and comes back to it as often as it ends.
func (t *tailing) follow(ctx context.Context) error {
	wait, away := time.Duration(0), false
	for {
		began, before := time.Now(), t.last
		opened, err := t.once(ctx, func() {
			if away {
				fmt.Fprintln(t.g.Stderr, "postbox: connected again")
			}
			away = false
		})
		if ctx.Err() != nil {
			return nil
		}
		after, lost := returns(err)
		var no unanswered
		if first := !opened && t.last == "" && !away; !lost || first && errors.As(err, &no) {
			return err
		}
		if t.last != before || opened && time.Since(began) > longestPause {
			wait = 0 // it was of use; one that ends at once is not asked for all the time
		}
		wait = min(max(2*wait, 100*time.Millisecond), longestPause)
		if !opened && !away {
			away = true
			fmt.Fprintf(t.g.Stderr, "postbox: %v; trying again until it is back\n", err)
		}
		if err := pause(ctx, max(after, wait/2+rand.N(wait/2+time.Millisecond))); err != nil {
			return nil
		}
	}
}

// returns reports whether the stream is to be had again after an error, and how
// long to wait before that.
func returns(err error) (after time.Duration, lost bool) {
	var out outputError
	if errors.Is(err, errEnough) || errors.As(err, &out) {
		return 0, false
	}
	if after, passing := passes(err, true); passing {
		return after, true
	}
	var no unanswered
	return 0, errors.As(err, &no) || errors.Is(err, io.EOF)
}

// once reads the stream until it ends, and reports whether it had begun.
func (t *tailing) once(ctx context.Context, begun func()) (opened bool, err error) {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	silence := time.AfterFunc(streamSilence, cut)
	defer silence.Stop()
	answer, err := t.open(ctx)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	begun()
	stream := newEvents(answer.Body, func() { silence.Reset(streamSilence) })
	for {
		e, err := stream.next()
		if errors.Is(err, io.EOF) {
			return true, io.EOF
		} else if err != nil {
			return true, unanswered{t.server.base, err}
		}
		if len(e.data) > 0 {
			if err := t.show(e.data); err != nil {
				return true, err
			}
		}
		if e.id != "" {
			t.last = e.id
		}
		if t.c.Count > 0 && t.shown >= t.c.Count {
			return true, errEnough
		}
	}
}

// open asks for the stream, after what was seen last.
func (t *tailing) open(ctx context.Context) (*http.Response, error) {
	address := t.server.base + "/v1/stream"
	if t.c.Since != "" {
		address += "?after=" + url.QueryEscape(t.c.Since)
	}
	var answer *http.Response
	_, err := t.server.authorized(ctx, func(authorization string) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Accept", "text/event-stream")
		if t.last != "" {
			request.Header.Set("Last-Event-ID", t.last)
		}
		answer, err = t.server.send(request, authorization)
		return nil, err
	})
	return answer, err
}

// show prints an entry, if it is one of those that were asked for.
func (t *tailing) show(text []byte) error {
	e, err := parseEntry(text)
	if err != nil {
		return err
	}
	// A gap is told to everybody: it may have held what was asked for.
	if e.Type != "gap" && (t.c.From != "" && e.From != t.c.From || t.c.Room != "" && e.Room != t.c.Room) {
		return nil
	}
	// Signals and what tells of delivery have no place in the inbox: they are no
	// entries, and how many come is luck.
	if e.InboxSeq > 0 || e.Type == "gap" {
		t.shown++
	}
	if t.c.JSON {
		err = writeJSONLine(t.g.Stdout, text, t.list.s.terminal)
	} else {
		err = writeText(t.g.Stdout, t.list.line(e))
	}
	if err != nil {
		return outputError{fmt.Errorf("print an entry: %w", err)}
	}
	return nil
}
