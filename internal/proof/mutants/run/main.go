// Command run runs the model test on the unchanged source, which must pass, and
// on every mutant, which must fail within a minute. It prints a table and exits
// with 1 when that is not so. Arguments choose mutants by name; with any, the
// unchanged source is left out.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postbox/internal/proof/mutants"
)

// limit is the time in which the model test must find a mutant. It makes steps
// for all but the last seconds, and then lets everything arrive.
const limit = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	dir, err := os.MkdirTemp("", "postbox-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	t := trial{root: strings.TrimSpace(string(root)), dir: dir, program: filepath.Join(dir, "model.test")}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", t.program, "postbox/internal/proof/model")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the model test: %w\n%s", err, out)
	}
	var wrong []string
	if len(names) == 0 {
		r, err := t.try(ctx, "")
		if err != nil {
			return err
		}
		fmt.Printf("%-26s %s\n", "(unchanged)", r.describe("passes"))
		if !r.passed {
			wrong = append(wrong, "the unchanged source fails")
		}
	}
	for _, m := range mutants.All {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(names) > 0 && !slices.Contains(names, m.Name) {
			continue
		}
		overlay, err := m.Overlay(t.root, dir)
		if err != nil {
			return err
		}
		r, err := t.try(ctx, overlay)
		if err != nil {
			return fmt.Errorf("mutant %s: %w", m.Name, err)
		}
		fmt.Printf("%-26s %s\n", m.Name, r.describe("SURVIVES: "+m.Fault))
		if r.passed || r.after > limit {
			wrong = append(wrong, m.Name+" survives")
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, ", "))
	}
	return nil
}

// trial runs the model test.
type trial struct{ root, dir, program string }

// result is what a run of the model test found.
type result struct {
	passed  bool
	after   time.Duration
	finding string
}

func (r result) describe(passed string) string {
	if r.passed {
		return passed
	}
	return fmt.Sprintf("caught after %4.1f s: %.150s", r.after.Seconds(), r.finding)
}

var found = regexp.MustCompile(`FINDING after ([0-9.]+)s: (.*)`)

// try runs the model test once, on the source with an overlay if one is named.
func (t trial) try(ctx context.Context, overlay string) (result, error) {
	cmd := exec.CommandContext(ctx, t.program, "-test.run=^TestModel$", "-test.timeout=5m")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Dir = filepath.Join(t.root, "internal", "proof", "model")
	cmd.Env = append(os.Environ(), "POSTBOX_PROOF_OVERLAY="+overlay, "POSTBOX_MODEL_TIME="+(limit-5*time.Second).String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return result{passed: true}, nil
	}
	match := found.FindSubmatch(out.Bytes())
	if match == nil {
		return result{}, fmt.Errorf("the model test ends with %w and no finding\n%s", err, out.Bytes())
	}
	seconds, err := strconv.ParseFloat(string(match[1]), 64)
	return result{after: time.Duration(seconds * float64(time.Second)), finding: string(match[2])}, err
}
