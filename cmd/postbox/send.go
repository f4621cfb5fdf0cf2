package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/term"
)

// maxInput bounds what is read from standard input; the server's own limit is
// lower, and known to it alone.
const maxInput = 64 << 20

type sendCmd struct {
	serverFlags
	jsonFlag
	To          string        `arg:"" optional:"" complete:"users" help:"The recipient; not given with --room."`
	Text        string        `arg:"" optional:"" help:"The message. - or nothing: all of standard input, as it is."`
	Room        string        `placeholder:"ROOM" complete:"rooms" help:"Send to a room."`
	Ref         string        `placeholder:"JSON" help:"A JSON object that goes along."`
	ContentType string        `placeholder:"TYPE" help:"What the message is; text/plain if it is text and nothing is said."`
	Key         string        `placeholder:"KEY" help:"Idempotency key: sent again with the same, the message is stored once."`
	Expires     time.Duration `placeholder:"1h" help:"After this the message is not delivered and not shown any more."`
}

// Help is the end of the command's --help.
func (sendCmd) Help() string {
	return `It returns when the message is stored. Without --key it makes one of its own, so
that an answer which was lost costs no second message.

Examples:

  postbox send bob 'Hello, Bob'
  postbox send --room dev 'Hello, all'
  postbox send bob --content-type image/png - < picture.png
  make 2>&1 | postbox send bob --key "build-$N" --expires 24h`
}

// Run sends a message and prints what became of it.
func (c *sendCmd) Run(ctx context.Context, g *globals) error {
	request, err := c.request(g)
	if err != nil {
		return err
	}
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	var sent struct {
		ID        string `json:"id"`
		Seq       int64  `json:"seq"`
		Duplicate bool   `json:"duplicate"`
	}
	answer, err := server.do(ctx, call{name: "send", request: request, again: true}, &sent)
	if err != nil {
		return err
	}
	s := newScreen(g)
	if c.JSON {
		return writeJSONLine(g.Stdout, answer, s.terminal)
	}
	was := "sent"
	if sent.Duplicate {
		was = "was sent before"
	}
	_, err = fmt.Fprintf(g.Stdout, "%s: #%d %s\n", was, sent.Seq, printable(sent.ID, false))
	return err
}

// request is the operation's, without fields that were not given.
func (c *sendCmd) request(g *globals) (map[string]any, error) {
	to, text := c.To, c.Text
	if c.Room != "" {
		if c.Text != "" {
			return nil, usageError("give a recipient or --room, not both; a message of several words is one in quotation marks")
		}
		to, text = "", c.To
	} else if to == "" {
		return nil, usageError("there is no recipient: postbox send TO TEXT, or --room ROOM")
	}
	body := []byte(text)
	if text == "" || text == "-" {
		var err error
		if body, err = c.input(g); err != nil {
			return nil, err
		}
	}
	request := map[string]any{"idempotency_key": c.Key}
	if c.Key == "" {
		request["idempotency_key"] = uuid.NewString()
	}
	if to != "" {
		request["to"] = to
	} else {
		request["room"] = c.Room
	}
	if utf8.Valid(body) {
		request["body"] = string(body)
	} else {
		request["body_base64"] = base64.StdEncoding.EncodeToString(body)
	}
	if c.ContentType != "" {
		request["content_type"] = c.ContentType
	}
	if c.Ref != "" {
		ref := strings.TrimSpace(c.Ref)
		if !json.Valid([]byte(ref)) || ref[0] != '{' {
			return nil, usageError(`--ref is no JSON object: write it as {"name":"value"}, in quotation marks of the shell`)
		}
		request["ref"] = json.RawMessage(ref)
	}
	if c.Expires != 0 {
		if c.Expires < time.Second {
			return nil, usageError("--expires is less than a second: write it with a unit, such as 90s or 24h")
		}
		request["expires_in"] = int64(c.Expires / time.Second)
	}
	return request, nil
}

// input reads standard input to its end.
func (c *sendCmd) input(g *globals) ([]byte, error) {
	if f, ok := g.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(g.Stderr, "The message, then Ctrl-D:")
	}
	body, err := io.ReadAll(io.LimitReader(g.Stdin, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the message from standard input: %w", err)
	case len(body) > maxInput:
		return nil, fmt.Errorf("standard input holds more than %d MiB: no message is so large", maxInput>>20)
	case len(body) == 0:
		return nil, errors.New("standard input is empty: there is nothing to send")
	}
	return body, nil
}
