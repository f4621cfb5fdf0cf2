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

type benchMixedCmd struct {
	Addr        string        `help:"Address of the broker (default: of --embedded-dir, else 127.0.0.1:1883)."`
	API         string        `name:"api" help:"Address of the HTTP API (default: of --embedded-dir, else 127.0.0.1:8080)."`
	DatabaseURL string        `help:"Database of the server."`
	EmbeddedDir string        `type:"path" help:"Data directory of a running server with the embedded database: gives its addresses and database."`
	ServerPID   int           `name:"server-pid" help:"Process of the server, for CPU."`
	Rate        float64       `default:"1000" help:"Direct messages per second."`
	Senders     int           `default:"50" help:"Who send them; each writes to a recipient of its own."`
	RoomRate    float64       `default:"5" help:"Messages per second to a room; 0: no room."`
	Members     int           `default:"100" help:"Members of the room, 4 of whom write."`
	Online      int           `default:"20" help:"Members who have a device connected."`
	HistoryRate float64       `default:"50" help:"Pages of history per second; 0: none."`
	ReadRate    float64       `default:"50" help:"Read positions set per second; 0: none."`
	Reconnects  float64       `default:"10" help:"Devices per second that come back to their session, and go; 0: none."`
	Messages    int           `short:"m" default:"50000" help:"Fill the database until it has so many to read."`
	Size        int           `default:"100" help:"Bytes of a body, at least 40."`
	Duration    time.Duration `default:"20s" help:"Length of each of the two runs."`
	WarmUp      time.Duration `default:"2s" help:"Time before each."`
	Note        []string      `sep:"none" help:"Put a setting that matters into the report. Repeatable."`
	JSON        bool          `help:"Print JSON instead of text."`
	Out         string        `type:"path" help:"Write JSON to this file too."`
}

// Help is the end of the command's --help.
func (benchMixedCmd) Help() string {
	return `Sends direct messages at a rate, first alone, then beside what else an app does:
messages to a room, pages of history, read positions, devices that come back. Latency
counts from when something was due, by kind. What is lost, repeated or wrong fails
the run. Users and conversations are made in the database, and stay. Read positions
only grow: what a second run on a database says of them costs it nothing.

Serve with POSTBOX_LIMITS_PUBLISH_RATE=0, POSTBOX_LIMITS_CONNECT_RATE=0 and
POSTBOX_LIMITS_REQUEST_RATE=0. Example:

  postbox bench mixed --embedded-dir ./postbox-data --rate 1000`
}

// Readers of the library, each in a conversation with so many others.
const (
	mixedReaders = 11
	mixedFriends = 10
	mixedPage    = 50
	mixedDevices = 40
	mixedWriters = 4 // of the room
)

// Validate finds wrong usage before anything starts.
func (c *benchMixedCmd) Validate() error {
	switch {
	case (c.DatabaseURL == "") == (c.EmbeddedDir == ""):
		return errors.New("give --database-url or --embedded-dir")
	case c.Rate <= 0 || c.Senders < 1:
		return errors.New("--rate and --senders are more than 0")
	case c.RoomRate < 0 || c.HistoryRate < 0 || c.ReadRate < 0 || c.Reconnects < 0:
		return errors.New("no rate is less than 0")
	case c.RoomRate > 0 && (c.Online < mixedWriters || c.Members < c.Online):
		return fmt.Errorf("the %d who write are among --online, and those among --members", mixedWriters)
	case c.Messages < 4*mixedPage*mixedReaders*mixedFriends/2:
		return fmt.Errorf("--messages %d: at least %d", c.Messages, 4*mixedPage*mixedReaders*mixedFriends/2)
	case c.Size < bench.MinBodySize:
		return fmt.Errorf("--size %d: at least %d", c.Size, bench.MinBodySize)
	}
	return nil
}

// Run fills, sends alone and in the mix, and prints.
func (c *benchMixedCmd) Run(ctx context.Context, g *globals) error {
	o := bench.MixedOptions{
		Direct: bench.DefaultOptions(), HistoryRate: c.HistoryRate, ReadRate: c.ReadRate, ReconnectRate: c.Reconnects, Limit: mixedPage,
	}
	direct := &o.Direct
	release, err := (&benchDatabase{DatabaseURL: c.DatabaseURL, EmbeddedDir: c.EmbeddedDir}).prepare(ctx, c.Addr, direct)
	if err != nil {
		return err
	}
	defer release()
	probe := direct.Database.(*durabilityProbe)
	if _, o.API, err = benchTarget(c.DatabaseURL, c.EmbeddedDir, c.API); err != nil {
		return err
	}
	filling := benchHistoryCmd{Messages: c.Messages, Users: mixedReaders, Friends: mixedFriends}
	if _, o.Shelves, err = filling.library(ctx, probe.db, g); err != nil {
		return err
	}
	direct.Name, direct.Rate, direct.Senders, direct.BodySize, direct.Duration, direct.WarmUp = "postbox", c.Rate, c.Senders, c.Size, c.Duration, c.WarmUp
	direct.ServerPID, direct.Database = c.ServerPID, nil
	if direct.Passwords, err = liveTokens(ctx, probe.db, c.Senders); err != nil {
		return err
	}
	if o.Devices, err = numberedLogins(ctx, probe.db, "device", mixedDevices); err != nil {
		return err
	}
	if c.RoomRate > 0 {
		if o.Room, err = c.room(ctx, probe.db, direct); err != nil {
			return err
		}
	}
	report := bench.NewMixedReport(c.Members, c.Online, c.Note)
	if err := probe.Begin(ctx); err != nil {
		return err
	}
	if err := bench.Mixed(ctx, o, report); err != nil {
		return err
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

// room makes the room and its members.
func (c *benchMixedCmd) room(ctx context.Context, db *store.Store, direct *bench.Options) (bench.RoomOptions, error) {
	o := bench.RoomOptions{
		Address: direct.Address, Room: fmt.Sprintf("mixed%d", c.Members), Members: c.Members, Senders: mixedWriters, Window: 8, Rate: c.RoomRate,
		BodySize: c.Size, WarmUp: c.WarmUp, Duration: c.Duration, Drain: direct.Drain, ConnectTimeout: direct.ConnectTimeout,
	}
	logins, err := numberedLogins(ctx, db, "member", c.Members)
	if err != nil {
		return o, err
	}
	users, tokens := make([]postbox.User, len(logins)), map[string]string{}
	for i, l := range logins {
		users[i], tokens[l.User] = postbox.User(l.User), l.Password
		if i < c.Online {
			o.Online = append(o.Online, l.User)
		}
	}
	o.Passwords = func(user string) string { return tokens[user] }
	return o, db.FillRoom(ctx, postbox.Room(o.Room), users)
}
