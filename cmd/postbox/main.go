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
	// Env looks a variable of the environment up, and ConfigDir is where the user's
	// programs keep what they remember: [os.Getenv] and [os.UserConfigDir].
	Env       func(string) string
	ConfigDir func() (string, error)
}

// commands is the command line of docs/spec.md §10.
type commands struct {
	Config string `name:"config" help:"Configuration file." placeholder:"FILE" env:"POSTBOX_CONFIG" type:"path"`

	Serve         serveCmd         `cmd:"" help:"Run the server."`
	Login         loginCmd         `cmd:"" help:"Log in at a server, for the commands that follow."`
	Logout        logoutCmd        `cmd:"" help:"End the login, here and at the server."`
	Send          sendCmd          `cmd:"" help:"Send a message to a user or to a room."`
	Tail          tailCmd          `cmd:"" help:"Print what arrives in the inbox, as it arrives."`
	History       historyCmd       `cmd:"" help:"Print messages of a conversation."`
	Conversations conversationsCmd `cmd:"" help:"List the conversations, the newest first."`
	Rooms         roomsCmd         `cmd:"" help:"List rooms, make and change them."`
	Search        searchCmd        `cmd:"" help:"Find messages by their words."`

	User       userCmd    `cmd:"" help:"Manage accounts; also while the server runs."`
	Import     importCmd  `cmd:"" help:"Bring users and messages of another application in."`
	Token      tokenCmd   `cmd:"" help:"Make an access token for a user."`
	Migrate    migrateCmd `cmd:"" help:"Bring the database schema up to date."`
	ConfigTool configCmd  `cmd:"" name:"config" help:"Check or print the configuration."`
	Epoch      epochCmd   `cmd:"" help:"Begin a new lineage of numbers."`
	Health     healthCmd  `cmd:"" help:"Ask a running server whether it is ready."`
	Bench      benchCmd   `cmd:"" help:"Measure this or any other MQTT broker."`
	Version    versionCmd `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print the completion script of a shell."`
	Complete   completeCmd   `cmd:"" name:"__complete" hidden:"" help:"What the completion scripts ask."`
}

// Exit codes of docs/spec.md §10.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	beginSmall()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exited carries the exit code out of kong, which ends the program for --help.
type exited int

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	g := &globals{Stdin: stdin, Stdout: stdout, Stderr: stderr, Env: os.Getenv, ConfigDir: os.UserConfigDir}
	return g.run(context.Background(), args)
}

// run does one command; it ends early with ctx, and with a signal.
func (g *globals) run(ctx context.Context, args []string) (code int) {
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
	parser, err := g.parser(&c)
	if err != nil {
		fmt.Fprintln(g.Stderr, "postbox:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(g.Stderr, "postbox: %v\nRun \"postbox --help\" to see what there is.\n", err)
		return exitUsage
	}
	ctx, unhook := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer unhook()
	g.ConfigFile, g.Unhook = c.Config, unhook
	chosen.BindTo(ctx, (*context.Context)(nil))
	if err := chosen.Run(g); err != nil {
		var usage usageError
		fmt.Fprintln(g.Stderr, "postbox:", err)
		if errors.As(err, &usage) {
			return exitUsage
		}
		return exitFailed
	}
	return exitDone
}

// parser reads the command line into c.
func (g *globals) parser(c *commands) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("postbox"),
		kong.Description("A messaging backend: every user an inbox over MQTT, every message in your PostgreSQL before it is acknowledged."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(g.Stdout, g.Stderr), kong.Exit(func(code int) { panic(exited(code)) }))
}

// usageError is a command line that kong accepts and the command does not.
type usageError string

func (e usageError) Error() string { return string(e) }
