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
	if !slices.Contains(os.Args[1:], "serve") {
		return
	}
	env, changed := withSmallStacks(os.Environ())
	if !changed {
		return
	}
	if self, err := os.Executable(); err == nil {
		_ = syscall.Exec(self, os.Args, env)
	}
}

// withSmallStacks adds the setting to what the environment says to Go's runtime. False:
// it is there already, or another one for the same.
func withSmallStacks(env []string) ([]string, bool) {
	const variable = "GODEBUG="
	said := ""
	for _, v := range env {
		if strings.HasPrefix(v, variable) {
			said = strings.TrimPrefix(v, variable)
		}
	}
	name, _, _ := strings.Cut(smallStacks, "=")
	for setting := range strings.SplitSeq(said, ",") {
		if strings.HasPrefix(setting, name+"=") {
			return env, false
		}
	}
	if said != "" {
		said += ","
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, variable) })
	return append(env, variable+said+smallStacks), true
}
