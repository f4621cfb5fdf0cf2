package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"postbox/internal/bench"
	"postbox/internal/bench/compare"
)

type benchCompareCmd struct {
	benchLoad
	Pairs   int      `default:"5" help:"How often each broker takes its turn."`
	Brokers []string `arg:"" name:"broker" help:"NAME=HOST:PORT or NAME=HOST:PORT/PID of a broker; the database flags are about the first."`
}

// Help is the end of the command's --help.
func (benchCompareCmd) Help() string {
	return `Gives the brokers the same load in turn, several times, and prints all figures
and the median of the ratios of the first to each other one. Ratios are formed
within a round, since a shared machine changes its speed.

Example:

  postbox bench compare postbox=127.0.0.1:1883/4711 mochi=127.0.0.1:1884 --pairs 5 --duration 20s`
}

// Validate finds wrong usage before anything starts.
func (c *benchCompareCmd) Validate() error {
	names := map[string]bool{}
	for _, broker := range c.Brokers {
		o, err := parseBroker(broker)
		if err != nil {
			return err
		}
		if names[o.Name] {
			return fmt.Errorf("two brokers are called %s: give each its own name", o.Name)
		}
		names[o.Name] = true
	}
	if c.Pairs < 1 {
		return fmt.Errorf("--pairs %d: give at least 1", c.Pairs)
	}
	return c.benchLoad.Validate()
}

// parseBroker reads NAME=HOST:PORT[/PID]; only those parts of the options are
// set.
func parseBroker(text string) (o bench.Options, err error) {
	name, address, ok := strings.Cut(text, "=")
	if !ok || name == "" || address == "" {
		return o, fmt.Errorf("broker %q: write NAME=HOST:PORT or NAME=HOST:PORT/PID", text)
	}
	o.Name = name
	o.Address, text, ok = strings.Cut(address, "/")
	if ok {
		if o.ServerPID, err = strconv.Atoi(text); err != nil || o.ServerPID < 1 {
			return o, fmt.Errorf("broker %s: %q is not a process id", name, text)
		}
	}
	return o, nil
}

// Run makes all runs and prints the comparison; each run shows on standard
// error as it ends.
func (c *benchCompareCmd) Run(ctx context.Context, g *globals) error {
	plan := compare.Plan{Rounds: c.Pairs}
	for i, broker := range c.Brokers {
		which, err := parseBroker(broker)
		if err != nil {
			return err
		}
		o := c.options()
		o.Name, o.ServerPID = which.Name, which.ServerPID
		if i > 0 {
			o.Address = which.Address
			plan.Targets = append(plan.Targets, o)
			continue
		}
		release, err := c.prepare(ctx, which.Address, &o)
		if err != nil {
			return err
		}
		defer release()
		plan.Targets = append(plan.Targets, o)
	}
	plan.Done = func(run compare.Run) {
		fmt.Fprintf(g.Stderr, "round %d of %d: %-12s %8.0f acknowledged/s %8.0f delivered/s %s\n",
			run.Round, c.Pairs, run.Name, run.AcknowledgedRate, run.DeliveredRate, strings.Join(run.Faults, "; "))
	}
	result, err := plan.Do(ctx)
	if err != nil {
		return err
	}
	if err := c.print(g.Stdout, result); err != nil {
		return err
	}
	var faults, databaseFaults []string
	for _, run := range result.Runs {
		// A loss of another broker is shown, but is not our failure.
		if run.Name == plan.Targets[0].Name {
			faults = append(faults, run.Report.Faults()...)
			databaseFaults = append(databaseFaults, run.DatabaseFaults()...)
		}
	}
	return c.verdict(faults, databaseFaults)
}
