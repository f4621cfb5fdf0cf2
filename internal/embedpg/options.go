package embedpg

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// Options says where and how the server runs. Only Dir is required.
type Options struct {
	// Dir holds everything that belongs to the server: the cluster in
	// Dir/pgdata, the log in Dir/postgres.log, the lock and the place of the
	// socket. It is created if it does not exist. Its path may be of any length.
	Dir string
	// BinDir is the directory of the programs postgres and initdb. Empty: the
	// usual places are searched, see [Start].
	BinDir string
	// FetchURL is a repository that missing programs are fetched from, into
	// Dir/programs. Empty: nothing is fetched. Not used with BinDir.
	FetchURL string
	// Logger gets the life of the child: starts, deaths, restarts. Nil: silence.
	// PostgreSQL's own messages go to Dir/postgres.log.
	Logger *slog.Logger
	// Settings are postgresql.conf settings, which win over that file. Those
	// that durability and the private socket rest on are refused.
	Settings map[string]string
	// OnRestart is called after the postmaster died and its successor takes
	// connections. It runs on the supervising goroutine and must not block,
	// nor call [Server.Stop].
	OnRestart func()
	// NoSync makes and runs the cluster without fsync. A power cut destroys
	// it. For clusters of tests only, which are thrown away anyway.
	NoSync bool

	// every is the time between two looks at log and socket; 0 means 10 s.
	every time.Duration
}

var settingName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

// validate returns the first thing wrong with o, in one line.
func (o Options) validate() error {
	if o.Dir == "" {
		return errors.New("embedded postgresql: no directory given")
	}
	for name := range o.Settings {
		if !settingName.MatchString(name) {
			return fmt.Errorf("embedded postgresql: %q is not the name of a setting", name)
		}
		if reserved[name] {
			return fmt.Errorf("embedded postgresql: setting %s cannot be changed: durability or the private socket rests on it", name)
		}
	}
	return nil
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}
