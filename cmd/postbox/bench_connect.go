package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/internal/bench"
	"postbox/store"
)

type benchConnectCmd struct {
	Brokers     []string      `arg:"" name:"broker" help:"NAME=ADDRESS[,pid=PROCESS][,heap=URL] of a broker; the database flags are about the first."`
	Connections int           `short:"n" default:"1000" help:"Idle connections."`
	PerUser     int           `default:"10" help:"Devices of a user."`
	AtOnce      int           `default:"64" help:"Handshakes at once."`
	Rounds      int           `default:"1" help:"How often each broker takes its turn."`
	Settle      time.Duration `default:"15s" help:"From the last connection until memory is looked at."`
	Connect     time.Duration `default:"2m" help:"Time for all to connect, and for all to come back."`
	Kill        bool          `help:"Kill the server instead of cutting its connections. Something else must start it again at the same address."`
	DatabaseURL string        `help:"Database of the server."`
	EmbeddedDir string        `type:"path" help:"Data directory of a running server with the embedded database."`
	Note        []string      `sep:"none" help:"Put a setting that matters into the report. Repeatable."`
	JSON        bool          `help:"Print JSON instead of text."`
	Out         string        `type:"path" help:"Write JSON to this file too."`
}

// Help is the end of the command's --help.
func (benchConnectCmd) Help() string {
	return `Connects devices that subscribe and then say nothing: how many a second, and
what the server takes of memory for each, when all are idle. Then all connections
are cut at once, and all come back as fast as they can: how long until every one is
there with its session. A device that is gone, has lost its session or does not hear
the message sent to it after each arrival fails the run.

ADDRESS is HOST:PORT, or ws://HOST:PORT/PATH. The heap's URL is that of Go's profile:
/debug/pprof/heap at the private address of Postbox.

Each connection is an open file here and one at the server: "ulimit -n". Above 10,000
they come from several loopback addresses, since ports run out. Serve with
POSTBOX_LIMITS_CONNECT_RATE=0 and POSTBOX_LIMITS_PUBLISH_RATE=0. Users are made in
the database and log in with tokens: passwords are slow to check on purpose. Example:

  postbox bench connect postbox=127.0.0.1:1883,pid=4711,heap=http://127.0.0.1:9090/debug/pprof/heap \
    --embedded-dir ./postbox-data --connections 10000`
}

// Validate finds wrong usage before anything starts.
func (c *benchConnectCmd) Validate() error {
	switch {
	case c.Connections < 1 || c.PerUser < 1 || c.AtOnce < 1 || c.Rounds < 1:
		return errors.New("--connections, --per-user, --at-once and --rounds are at least 1")
	case (c.Connections+c.PerUser-1)/c.PerUser > 1<<16-1:
		return errors.New("--connections are of 65,535 users at most: raise --per-user")
	case c.DatabaseURL != "" && c.EmbeddedDir != "":
		return errors.New("--database-url and --embedded-dir name two databases: give one")
	case c.Kill && len(c.Brokers) > 1:
		return errors.New("--kill is for one broker")
	}
	for _, broker := range c.Brokers {
		o, err := parseDoor(broker)
		if err != nil {
			return err
		}
		if c.Kill && o.ServerPID == 0 {
			return errors.New("--kill needs pid=PROCESS of the broker")
		}
	}
	return nil
}

// parseDoor reads NAME=ADDRESS[,pid=PROCESS][,heap=URL]; only those parts of the
// options are set.
func parseDoor(text string) (o bench.ConnectOptions, err error) {
	parts := strings.Split(text, ",")
	var ok bool
	if o.Name, o.Address, ok = strings.Cut(parts[0], "="); !ok || o.Name == "" || o.Address == "" {
		return o, fmt.Errorf("broker %q: write NAME=ADDRESS[,pid=PROCESS][,heap=URL]", text)
	}
	for _, part := range parts[1:] {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "pid":
			if o.ServerPID, err = strconv.Atoi(value); err != nil || o.ServerPID < 1 {
				return o, fmt.Errorf("broker %s: %q is not a process id", o.Name, value)
			}
		case "heap":
			o.HeapURL = value
		default:
			return o, fmt.Errorf("broker %s: %q is neither pid=PROCESS nor heap=URL", o.Name, part)
		}
	}
	return o, nil
}

// Run gives each broker its turns and prints.
func (c *benchConnectCmd) Run(ctx context.Context, g *globals) error {
	users := (c.Connections + c.PerUser - 1) / c.PerUser
	logins := make([]bench.Login, users+1)
	for i := range logins {
		logins[i].User = fmt.Sprintf("idle%d", i)
	}
	var targets []bench.ConnectOptions
	for i, text := range c.Brokers {
		o, err := parseDoor(text)
		if err != nil {
			return err
		}
		o.Connections, o.Topic, o.AtOnce, o.Settle, o.Timeout, o.Kill = c.Connections, "inbox/{recipient}", c.AtOnce, c.Settle, c.Connect, c.Kill
		o.Sender, o.Logins = logins[0], logins[1:]
		if i == 0 && (c.DatabaseURL != "" || c.EmbeddedDir != "") {
			var release func()
			if o.Sender, o.Logins, o.DatabasePID, release, err = c.admit(ctx, logins); err != nil {
				return err
			}
			defer release()
		}
		targets = append(targets, o)
	}
	report := bench.NewConnectReport(c.Connections, users, c.AtOnce, c.Note)
	for round := range c.Rounds {
		for turn := range targets {
			o := targets[(round+turn)%len(targets)]
			run, err := bench.Connect(ctx, o)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, o.Name, err)
			}
			run.Round = round + 1
			report.Runs = append(report.Runs, run)
			fmt.Fprintf(g.Stderr, "round %d of %d: %-12s %s\n", run.Round, c.Rounds, run.Name, run.First)
		}
	}
	report.Relate(targets[0].Name)
	load := benchLoad{JSON: c.JSON, Out: c.Out}
	if err := load.print(g.Stdout, report); err != nil {
		return err
	}
	return load.verdict(report.Faults(targets[0].Name), nil)
}

// admit makes the users at Postbox, the first of whom is the sender, and a token for
// each.
func (c *benchConnectCmd) admit(ctx context.Context, logins []bench.Login) (sender bench.Login, others []bench.Login, postmaster int, release func(), err error) {
	database := benchDatabase{DatabaseURL: c.DatabaseURL, EmbeddedDir: c.EmbeddedDir}
	var o bench.Options
	if release, err = database.prepare(ctx, "-", &o); err != nil {
		return sender, nil, 0, nil, err
	}
	names := make([]postbox.User, len(logins))
	for i := range names {
		names[i] = postbox.User(logins[i].User)
	}
	if others, err = tokenLogins(ctx, o.Database.(*durabilityProbe).db, names); err != nil {
		release()
		return sender, nil, 0, nil, err
	}
	return others[0], others[1:], o.DatabasePID, release, nil
}

// tokenLogins makes users that have no password, as far as they are not there yet,
// and gives each a token.
func tokenLogins(ctx context.Context, db *store.Store, names []postbox.User) ([]bench.Login, error) {
	if err := db.AddUsers(ctx, names, ""); err != nil {
		return nil, err
	}
	tokens, err := broker.OpenTokens(ctx, db)
	if err != nil {
		return nil, err
	}
	logins := make([]bench.Login, len(names))
	for i, name := range names {
		logins[i].User = string(name)
		if logins[i].Password, _, err = tokens.Issue(name, auth.PurposeAccess, 12*time.Hour); err != nil {
			return nil, err
		}
	}
	return logins, nil
}
