// Command postbox is the Postbox server and its tools. This package is the
// only place that knows every concrete type: flags, wiring, exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// globals are what every command works with.
type globals struct {
	ConfigFile string
	// Unhook gives SIGINT and SIGTERM their usual effect back, which until then
	// end the context of a command.
	Unhook         func()
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// commands is the command line of docs/spec.md §10.
type commands struct {
	Config string `name:"config" help:"Configuration file." placeholder:"FILE" env:"POSTBOX_CONFIG" type:"path"`

	Serve      serveCmd   `cmd:"" help:"Run the server."`
	User       userCmd    `cmd:"" help:"Manage accounts; also while the server runs."`
	Token      tokenCmd   `cmd:"" help:"Make an access token for a user."`
	Migrate    migrateCmd `cmd:"" help:"Bring the database schema up to date."`
	ConfigTool configCmd  `cmd:"" name:"config" help:"Check or print the configuration."`
	Epoch      epochCmd   `cmd:"" help:"Begin a new lineage of numbers."`
	Health     healthCmd  `cmd:"" help:"Ask a running server whether it is ready."`
	Bench      benchCmd   `cmd:"" help:"Measure this or any other MQTT broker."`
	Version    versionCmd `cmd:"" help:"Print the version."`
}

// Exit codes of docs/spec.md §10.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exited carries the exit code out of kong, which ends the program for --help.
type exited int

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if fault := recover(); fault != nil {
			e, ok := fault.(exited)
			if !ok {
				panic(fault)
			}
			code = int(e)
		}
	}()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("postbox"),
		kong.Description("A messaging backend: every user an inbox over MQTT, every message in your PostgreSQL before it is acknowledged."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { panic(exited(code)) }))
	if err != nil {
		fmt.Fprintln(stderr, "postbox:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "postbox: %v\nRun \"postbox --help\" to see what there is.\n", err)
		return exitUsage
	}
	ctx, unhook := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer unhook()
	g := &globals{ConfigFile: c.Config, Unhook: unhook, Stdin: stdin, Stdout: stdout, Stderr: stderr}
	chosen.BindTo(ctx, (*context.Context)(nil))
	if err := chosen.Run(g); err != nil {
		var usage usageError
		fmt.Fprintln(stderr, "postbox:", err)
		if errors.As(err, &usage) {
			return exitUsage
		}
		return exitFailed
	}
	return exitDone
}

// usageError is a command line that kong accepts and the command does not.
type usageError string

func (e usageError) Error() string { return string(e) }
