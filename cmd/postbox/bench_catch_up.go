package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postbox"
	"postbox/internal/bench"
	"postbox/store"
)

type benchCatchUpCmd struct {
	Addr        string        `help:"Address of the broker (default: of --embedded-dir, else 127.0.0.1:1883)."`
	DatabaseURL string        `help:"Database of the server."`
	EmbeddedDir string        `type:"path" help:"Data directory of a running server with the embedded database: gives its address and database."`
	ServerPID   int           `name:"server-pid" help:"Process of the server, for CPU."`
	Messages    int           `short:"m" default:"100000" help:"Messages that one device has missed."`
	Devices     int           `short:"d" default:"50" help:"Devices, of as many users, that return at once, 64 handshakes at a time, beside live senders; 0: none."`
	Backlog     int           `default:"2000" help:"Messages that each of those has missed."`
	Writers     int           `default:"8" help:"Users who write what is missed."`
	Window      int           `short:"w" default:"64" help:"Deliveries that a device takes unacknowledged (Receive Maximum)."`
	Live        int           `default:"20" help:"Live senders; each writes to a recipient of its own."`
	LiveWindow  int           `default:"32" help:"Publishes that a live sender may have unacknowledged."`
	Rate        float64       `default:"0" help:"Messages per second of all live senders; 0: as fast as it goes."`
	WarmUp      time.Duration `default:"20s" help:"Live sending before its rate is taken: what comes first at full speed only waits for the index of search, and is stored faster than what comes later."`
	Before      time.Duration `default:"5s" help:"Live sending before the return, and after it."`
	Size        int           `default:"100" help:"Bytes of a body, at least 40."`
	Timeout     time.Duration `default:"5m" help:"Time for what is missed to be stored, and for the devices to have it."`
	Note        []string      `sep:"none" help:"Put a setting that matters into the report. Repeatable."`
	JSON        bool          `help:"Print JSON instead of text."`
	Out         string        `type:"path" help:"Write JSON to this file too."`
}

// Help is the end of the command's --help.
func (benchCatchUpCmd) Help() string {
	return `Stores messages for a device that is away, has it come back, and measures how
fast it gets them. Then does so with many devices that return at once, beside live
senders: what is left of the senders' rate meanwhile? A message missing, repeated,
out of order or a hole in the numbers of an inbox fails the run.

Serve with POSTBOX_LIMITS_PUBLISH_RATE=0 and POSTBOX_LIMITS_CONNECT_RATE=0. Users are
made in the database. Example:

  postbox bench catch-up --embedded-dir ./postbox-data --messages 100000 --devices 50`
}

// Validate finds wrong usage before anything starts.
func (c *benchCatchUpCmd) Validate() error {
	switch {
	case (c.DatabaseURL == "") == (c.EmbeddedDir == ""):
		return errors.New("give --database-url or --embedded-dir")
	case c.Messages < 1 || c.Writers < 1 || c.Devices < 0 || c.Devices > 0 && (c.Backlog < 1 || c.Live < 1):
		return errors.New("--messages, --writers, --backlog and --live are at least 1, --devices at least 0")
	case c.Window < 1 || c.Window > 1<<16-1:
		return fmt.Errorf("--window %d: 1 to 65535", c.Window)
	case c.Size < bench.MinBodySize:
		return fmt.Errorf("--size %d: at least %d", c.Size, bench.MinBodySize)
	}
	return nil
}

// Run makes the users, has devices miss messages and come back, and prints.
func (c *benchCatchUpCmd) Run(ctx context.Context, g *globals) error {
	database := benchDatabase{DatabaseURL: c.DatabaseURL, EmbeddedDir: c.EmbeddedDir}
	live := bench.DefaultOptions()
	release, err := database.prepare(ctx, c.Addr, &live)
	if err != nil {
		return err
	}
	defer release()
	probe := live.Database.(*durabilityProbe)
	o := bench.CatchUpOptions{
		Address: live.Address, Messages: c.Messages, BodySize: c.Size, Window: c.Window, Timeout: c.Timeout, Before: c.Before, After: c.Before,
		ServerPID: c.ServerPID, DatabasePID: live.DatabasePID,
	}
	if o.Writers, err = numberedLogins(ctx, probe.db, "writer", c.Writers); err != nil {
		return err
	}
	away, err := numberedLogins(ctx, probe.db, "away", max(c.Devices, 1))
	if err != nil {
		return err
	}
	report := bench.NewCatchUpReport(c.Size, c.Note)
	if err := probe.Begin(ctx); err != nil {
		return err
	}
	o.Away = away[:1]
	if report.One, err = bench.CatchUp(ctx, o); err != nil {
		return err
	}
	if c.Devices > 0 {
		live.Name, live.Senders, live.Window, live.Rate, live.WarmUp, live.BodySize, live.ServerPID, live.Database = "postbox", c.Live, c.LiveWindow, c.Rate, c.WarmUp, c.Size, c.ServerPID, nil
		if live.Passwords, err = liveTokens(ctx, probe.db, c.Live); err != nil {
			return err
		}
		o.Away, o.Messages, o.Live = away, c.Backlog, &live
		if report.Many, err = bench.CatchUp(ctx, o); err != nil {
			return err
		}
	}
	if report.Database, err = probe.End(ctx, report.Stored()); err != nil {
		return err
	}
	load := benchLoad{JSON: c.JSON, Out: c.Out}
	if err := load.print(g.Stdout, report); err != nil {
		return err
	}
	return load.verdict(report.Faults(), nil)
}

// numberedLogins makes users with tokens, whose numbers begin at 1.
func numberedLogins(ctx context.Context, db *store.Store, prefix string, n int) ([]bench.Login, error) {
	names := make([]postbox.User, n)
	for i := range names {
		names[i] = postbox.User(fmt.Sprintf("%s%d", prefix, i+1))
	}
	return tokenLogins(ctx, db, names)
}

// liveTokens makes the users of so many senders of [bench.Send], and gives their
// tokens.
func liveTokens(ctx context.Context, db *store.Store, n int) (func(string) string, error) {
	tokens := map[string]string{}
	for _, prefix := range []string{"sender", "recipient"} {
		logins, err := numberedLogins(ctx, db, prefix, n)
		if err != nil {
			return nil, err
		}
		for _, l := range logins {
			tokens[l.User] = l.Password
		}
	}
	return func(user string) string { return tokens[user] }, nil
}
