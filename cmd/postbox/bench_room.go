package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"postbox"
	"postbox/internal/bench"
	"postbox/store"
)

type benchRoomCmd struct {
	Addr        string        `help:"Address of the broker (default: of --embedded-dir, else 127.0.0.1:1883)."`
	DatabaseURL string        `help:"Database of the server."`
	EmbeddedDir string        `type:"path" help:"Data directory of a running server with the embedded database: gives its address and database."`
	Members     int           `short:"m" default:"1000" help:"Members of the room."`
	Online      int           `default:"200" help:"How many of them have a device connected."`
	Senders     int           `short:"n" default:"10" help:"How many of those write."`
	Window      int           `short:"w" default:"8" help:"Publishes that each may have unacknowledged."`
	Rate        float64       `default:"40" help:"Messages per second in the room while direct messages are measured beside it."`
	DirectRate  float64       `default:"200" help:"Direct messages per second beside it; 0: none."`
	Size        int           `default:"100" help:"Bytes of a body, at least 40."`
	Rounds      int           `default:"3" help:"How often direct messages are measured, alone and beside the room in turn."`
	Duration    time.Duration `default:"20s" help:"Length of each measuring window."`
	WarmUp      time.Duration `default:"2s" help:"Sending before each window."`
	Drain       time.Duration `default:"1m" help:"Longest wait for what is still due after the last publish."`
	Note        []string      `sep:"none" help:"Put a setting that matters into the report. Repeatable."`
	JSON        bool          `help:"Print JSON instead of text."`
	Out         string        `type:"path" help:"Write JSON to this file too."`
}

// Help is the end of the command's --help.
func (benchRoomCmd) Help() string {
	return `Makes a room of users of its own in the server's database, writes in it as fast
as it goes, and checks on a device of each who is online that nothing is missing
and that all have one order. Then it measures direct messages, alone and beside the
room at --rate in turn.

The server slows each user down: serve with POSTBOX_LIMITS_PUBLISH_RATE=0 and
POSTBOX_LIMITS_CONNECT_RATE=0. Example:

  postbox bench room --embedded-dir ./postbox-data --note limits.publish_rate=0`
}

// Validate finds wrong usage before anything starts.
func (c *benchRoomCmd) Validate() error {
	switch {
	case (c.DatabaseURL == "") == (c.EmbeddedDir == ""):
		return errors.New("give --database-url or --embedded-dir")
	case c.Senders < 1 || c.Online < c.Senders || c.Members < c.Online:
		return errors.New("--senders are among --online, and those among --members")
	case c.Window < 1 || c.Window > 1000:
		return fmt.Errorf("--window %d: 1 to 1000", c.Window)
	case c.Size < bench.MinBodySize:
		return fmt.Errorf("--size %d: at least %d", c.Size, bench.MinBodySize)
	case c.Rate <= 0 || c.DirectRate < 0:
		return errors.New("--rate is more than 0, --direct-rate not less")
	case c.Rounds < 1:
		return fmt.Errorf("--rounds %d: at least 1; --direct-rate 0 measures the room only", c.Rounds)
	}
	return nil
}

const (
	roomPassword  = "a load test"
	directSenders = 10
)

// Run makes the room, loads it and prints.
func (c *benchRoomCmd) Run(ctx context.Context, g *globals) error {
	database := benchDatabase{DatabaseURL: c.DatabaseURL, EmbeddedDir: c.EmbeddedDir, CreateUsers: true}
	direct := bench.DefaultOptions()
	release, err := database.prepare(ctx, c.Addr, &direct)
	if err != nil {
		return err
	}
	defer release()
	probe := direct.Database.(*durabilityProbe)
	o, err := c.furnish(ctx, probe.db, direct.CreateUsers)
	if err != nil {
		return err
	}
	o.Address = direct.Address
	report := bench.NewRoomReport(c.Members, c.Online, c.Note)
	if err := probe.Begin(ctx); err != nil {
		return err
	}
	before, err := roomSizes(ctx, probe.db)
	if err != nil {
		return err
	}
	if report.Full, err = bench.Room(ctx, o); err != nil {
		return err
	}
	after, err := roomSizes(ctx, probe.db)
	if err != nil {
		return err
	}
	report.BytesPerMessage = float64(after[0]-before[0]) / float64(report.Full.Sent)
	report.BytesPerMember = float64(after[1]-before[1]) / float64(report.Full.Sent) / float64(c.Members)
	sent := report.Full.Sent
	if c.DirectRate > 0 {
		for range c.Rounds {
			round, err := c.beside(ctx, o)
			if err != nil {
				return err
			}
			report.Rounds = append(report.Rounds, round)
			sent += round.Paced.Sent + round.Alone.TotalAcknowledged + round.Beside.TotalAcknowledged
		}
	}
	if report.Database, err = probe.End(ctx, sent); err != nil {
		return err
	}
	load := benchLoad{JSON: c.JSON, Out: c.Out}
	if err := load.print(g.Stdout, report); err != nil {
		return err
	}
	return load.verdict(report.Faults(), nil)
}

// furnish makes the room, its members, and those who write direct messages.
func (c *benchRoomCmd) furnish(ctx context.Context, db *store.Store, create func(context.Context, []string, string) error) (bench.RoomOptions, error) {
	o := bench.RoomOptions{
		Room: fmt.Sprintf("bench%d", c.Members), Members: c.Members, Password: roomPassword, Senders: c.Senders, Window: c.Window, BodySize: c.Size,
		WarmUp: c.WarmUp, Duration: c.Duration, Drain: c.Drain, ConnectTimeout: time.Minute,
	}
	names, users := make([]string, c.Members), make([]postbox.User, c.Members)
	for i := range names {
		names[i] = fmt.Sprintf("member%d", i+1)
		users[i] = postbox.User(names[i])
	}
	o.Online = names[:c.Online]
	everybody := names
	for i := range directSenders { // as "bench send" calls them
		everybody = append(everybody, fmt.Sprintf("sender%d", i+1), fmt.Sprintf("recipient%d", i+1))
	}
	if err := create(ctx, everybody, roomPassword); err != nil {
		return o, err
	}
	return o, db.FillRoom(ctx, postbox.Room(o.Room), users)
}

// beside measures direct messages without the room and with it.
func (c *benchRoomCmd) beside(ctx context.Context, o bench.RoomOptions) (round bench.RoomRound, err error) {
	if round.Alone, err = c.direct(ctx, o.Address); err != nil {
		return round, err
	}
	// Passwords are checked before: the room is there for all of the other's window.
	connected := make(chan struct{})
	o.Rate, o.Connected = c.Rate, func() { close(connected) }
	o.Duration += besideConnects
	paced := make(chan error, 1)
	go func() {
		var err error
		round.Paced, err = bench.Room(ctx, o)
		paced <- err
	}()
	select {
	case <-connected:
	case err := <-paced:
		return round, err
	}
	round.Beside, err = c.direct(ctx, o.Address)
	err = errors.Join(err, <-paced) // before round is read, which has Paced by then
	return round, err
}

// direct measures direct messages, in a process of its own. In this one they would
// wait for the room's devices, of which it has them all, and that is no delay of the
// server's.
func (c *benchRoomCmd) direct(ctx context.Context, address string) (*bench.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("measure direct messages: %w", err)
	}
	child := exec.CommandContext(ctx, self, "bench", "send", "--addr", address, "--senders", strconv.Itoa(directSenders), "--password", roomPassword,
		"--rate", strconv.FormatFloat(c.DirectRate, 'f', -1, 64), "--size", strconv.Itoa(c.Size),
		"--warm-up", c.WarmUp.String(), "--duration", c.Duration.String(), "--drain", c.Drain.String(), "--allow-loss", "--json")
	var failure bytes.Buffer
	child.Stderr = &failure
	out, err := child.Output()
	if err != nil {
		return nil, fmt.Errorf("measure direct messages: %w: %s", err, bytes.TrimSpace(failure.Bytes()))
	}
	var r bench.Report
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("read the report on direct messages: %w", err)
	}
	return &r, nil
}

// besideConnects is how much longer the room goes on than the direct messages beside
// it, whose devices connect meanwhile.
const besideConnects = 3 * time.Second

// roomSizes are the bytes of what a message takes, and of inboxes.
func roomSizes(ctx context.Context, db *store.Store) (sizes [2]int64, err error) {
	const look = `SELECT pg_total_relation_size('postbox.messages'), pg_total_relation_size('postbox.inbox')`
	err = db.DB().QueryRowContext(ctx, look).Scan(&sizes[0], &sizes[1])
	return sizes, err
}
