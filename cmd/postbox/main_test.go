package main

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"postbox/internal/pgtest"
)

// asCommand makes the test's program be postbox itself: for tests that need it as
// a process of its own.
const asCommand = "POSTBOX_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" || len(os.Args) > 1 && os.Args[1] == "bench" { // bench room calls itself
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	pgtest.Main(m)
}

// Whoever asks a command for help sees how it is used.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	parser, err := (&globals{}).parser(new(commands))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, leaf := range parser.Model.Leaves(true) {
		seen++
		if leaf.Type == kong.CommandNode && !strings.Contains(leaf.Detail, "\n  ") || !strings.Contains(leaf.Detail, "postbox ") {
			t.Errorf("%s has no example in its help", leaf.FullPath())
		}
		if leaf.Help == "" {
			t.Errorf("%s does not say what it does", leaf.FullPath())
		}
	}
	if seen < 40 {
		t.Errorf("%d commands were looked at", seen)
	}
}
