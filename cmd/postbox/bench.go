package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postbox/internal/bench"
)

// benchCmd groups the measurements.
type benchCmd struct {
	Send    benchSendCmd    `cmd:"" help:"Measure how fast an MQTT broker acknowledges and delivers, and what it loses."`
	History benchHistoryCmd `cmd:"" help:"Fill a database and measure how fast history is read."`
	Search  benchSearchCmd  `cmd:"" help:"Fill a database and measure how fast messages are found."`
	Room    benchRoomCmd    `cmd:"" help:"Measure a large room, and direct messages beside it."`
	Connect benchConnectCmd `cmd:"" help:"Measure idle connections: how fast, how much memory, and how fast all come back."`
	CatchUp benchCatchUpCmd `cmd:"" help:"Measure how fast devices get what they have missed, and what is left for live senders."`
	Mixed   benchMixedCmd   `cmd:"" help:"Measure direct messages at a rate, alone and beside rooms, history, reads and reconnects."`
	Report  benchReportCmd  `cmd:"" help:"Draw reports of the other commands as a page of HTML."`
	Compare benchCompareCmd `cmd:"" help:"Measure several brokers in turn and print the ratios."`
}

// benchLoad is the load, the same for every broker.
type benchLoad struct {
	Senders  int           `short:"n" default:"50" help:"Senders; each writes to a recipient of its own."`
	Window   int           `short:"w" default:"32" help:"Publishes that a sender may have unacknowledged."`
	Devices  int           `short:"d" default:"1" help:"Online devices of each recipient."`
	Size     int           `default:"100" help:"Bytes of a body, at least 40."`
	Rate     float64       `default:"0" help:"Messages per second of all senders together; 0: as fast as it goes."`
	Duration time.Duration `default:"20s" help:"Length of the measuring window."`
	WarmUp   time.Duration `default:"2s" help:"Sending before the window."`
	Drain    time.Duration `default:"30s" help:"Longest wait for what is still due after the last publish."`
	Connect  time.Duration `default:"1m" help:"Time for all clients to connect and subscribe."`
	Protocol string        `default:"3.1.1" enum:"3.1.1,5" help:"MQTT version: ${enum}."`
	Session  bool          `help:"Use stored sessions; they are removed after the run."`

	Topic     string   `default:"inbox/{recipient}" help:"Topic; {recipient} is the recipient's user name, {n} its number."`
	User      string   `default:"sender{n}" help:"User names of the senders. Empty, with --recipient empty: no user name."`
	Recipient string   `default:"recipient{n}" help:"User names of the recipients."`
	Password  string   `help:"Password of all users. Brokers without authentication ignore it."`
	Note      []string `sep:"none" help:"Put a setting that matters into the report, such as a rate limit switched off. Repeatable."`

	benchDatabase
	AllowLoss bool   `help:"Do not fail on messages lost, repeated, reordered or refused."`
	JSON      bool   `help:"Print JSON instead of text."`
	Out       string `type:"path" help:"Write JSON to this file too."`
}

// benchDatabase is what is known of the database behind Postbox.
type benchDatabase struct {
	DatabaseURL string `help:"Database of the server: shows after the run how durable it is; needed for --create-users."`
	EmbeddedDir string `type:"path" help:"Data directory of a running server with the embedded database: gives its address and database."`
	DatabasePID int    `name:"database-pid" help:"Process of the postmaster, for CPU. Found by itself if the database is on this machine."`
	CreateUsers bool   `help:"Create the users in the database first, with --password; those that exist are left alone."`
}

// options translates the flags. Address, name and processes are left to the
// caller.
func (l *benchLoad) options() bench.Options {
	o := bench.Options{
		Address:        "-", // not known yet
		Protocol:       bench.MQTT311,
		Senders:        l.Senders,
		Window:         l.Window,
		Devices:        l.Devices,
		BodySize:       l.Size,
		Rate:           l.Rate,
		WarmUp:         l.WarmUp,
		Duration:       l.Duration,
		Drain:          l.Drain,
		ConnectTimeout: l.Connect,
		Topic:          l.Topic,
		SenderUser:     l.User,
		RecipientUser:  l.Recipient,
		Password:       l.Password,
		Session:        l.Session,
		Notes:          l.Note,
	}
	if l.Protocol == "5" {
		o.Protocol = bench.MQTT5
	}
	return o
}

// Validate finds wrong usage before anything starts.
func (l *benchLoad) Validate() error {
	if l.CreateUsers && l.Password == "" {
		return errors.New("--create-users needs --password")
	}
	if l.CreateUsers && l.DatabaseURL == "" && l.EmbeddedDir == "" {
		return errors.New("--create-users needs --database-url or --embedded-dir")
	}
	if l.DatabaseURL != "" && l.EmbeddedDir != "" {
		return errors.New("--database-url and --embedded-dir name two databases: give one")
	}
	o := l.options()
	return o.Validate()
}

type benchSendCmd struct {
	benchLoad
	Addr      string `help:"Address of the broker (default: of --embedded-dir, else 127.0.0.1:1883)."`
	Name      string `default:"postbox" help:"Name of the broker in the report."`
	ServerPID int    `name:"server-pid" help:"Process of the broker, for CPU and memory."`
}

// Help is the end of the command's --help.
func (benchSendCmd) Help() string {
	return `Sends through any MQTT broker and checks every message at every device. A
message lost, repeated, out of order or refused fails the run, and so does a
database that is not durable.

Postbox lets in only users that it knows, and slows each down to
limits.publish_rate. So serve with POSTBOX_LIMITS_PUBLISH_RATE=0 (and, for more
than a thousand connections, POSTBOX_LIMITS_CONNECT_RATE=0) and let the
users be made:

  postbox bench send --embedded-dir ./postbox-data --create-users --password xyzzy --note limits.publish_rate=0

Another broker, two devices per recipient, a thousand messages a second:

  postbox bench send --addr 127.0.0.1:1884 --name mosquitto --devices 2 --rate 1000`
}

// Run makes one run and prints its report.
func (c *benchSendCmd) Run(ctx context.Context, g *globals) error {
	o := c.options()
	o.Name, o.ServerPID = c.Name, c.ServerPID
	release, err := c.prepare(ctx, c.Addr, &o)
	if err != nil {
		return err
	}
	defer release()
	report, err := bench.Send(ctx, o)
	if err != nil {
		return err
	}
	if err := c.print(g.Stdout, report); err != nil {
		return err
	}
	return c.verdict(report.Faults(), report.DatabaseFaults())
}

// textReport is a report or a comparison of reports.
type textReport interface{ WriteText(io.Writer) error }

// print writes a report where the flags want it.
func (l *benchLoad) print(w io.Writer, report textReport) error {
	encoded, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	encoded = append(encoded, '\n')
	if l.Out != "" {
		if err := os.MkdirAll(filepath.Dir(l.Out), 0o755); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		if err := os.WriteFile(l.Out, encoded, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if l.JSON {
		_, err = w.Write(encoded)
		return err
	}
	return report.WriteText(w)
}

// verdict is an error if the run must not count. --allow-loss does not excuse
// the database.
func (l *benchLoad) verdict(faults, databaseFaults []string) error {
	if l.AllowLoss {
		faults = nil
	}
	if all := append(faults, databaseFaults...); len(all) > 0 {
		return fmt.Errorf("the figures do not count: %s", strings.Join(all, "; "))
	}
	return nil
}
