package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
)

// smallStacks has a new goroutine begin with a stack of 2 KiB. By itself Go takes the
// average of what is in use, which is 8 KiB where thousands of connections wait for
// what they read, and never makes one smaller of which a quarter is used: of the 4 KiB
// that a connection's second goroutine needs, Mochi's for writing, it would keep 8.
// Go reads it when a program starts, from the environment only
// (src/runtime/runtime1.go: adaptivestackstart).
const smallStacks = "adaptivestackstart=0"

// beginSmall starts this program again, as the same process, if it is the server and
// its environment says nothing about stacks. Call it before anything else is done: a
// signal that came in between would be lost. Where it cannot be, all goes on as it is.
func beginSmall() {
	const variable = "GODEBUG"
	settings, changed := withSmallStacks(os.Getenv(variable))
	if !changed || !slices.Contains(os.Args[1:], "serve") {
		return
	}
	if self, err := os.Executable(); err == nil && os.Setenv(variable, settings) == nil {
		_ = syscall.Exec(self, os.Args, os.Environ())
	}
}

// withSmallStacks adds the setting to those for Go's runtime. False: it is there
// already, or another one for the same.
func withSmallStacks(settings string) (string, bool) {
	name, _, _ := strings.Cut(smallStacks, "=")
	for setting := range strings.SplitSeq(settings, ",") {
		if strings.HasPrefix(setting, name+"=") {
			return settings, false
		}
	}
	if settings != "" {
		settings += ","
	}
	return settings + smallStacks, true
}
