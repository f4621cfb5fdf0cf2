package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// HistoryReport is the outcome of runs over one database.
type HistoryReport struct {
	Started time.Time    `json:"started"`
	Commit  string       `json:"commit"`
	Machine Machine      `json:"machine"`
	Notes   []string     `json:"notes,omitempty"`
	Library Library      `json:"library"`
	Runs    []HistoryRun `json:"runs"`
}

// Library is what there is to read.
type Library struct {
	Messages      int     `json:"messages"`
	Conversations int     `json:"conversations"`
	Users         int     `json:"users"`
	Bytes         int64   `json:"database_bytes"`
	Filled        int     `json:"filled_now"`
	FillRate      float64 `json:"filled_per_s,omitempty"`
}

// NewHistoryReport is a report without runs.
func NewHistoryReport(l Library, notes []string) *HistoryReport {
	return &HistoryReport{Started: time.Now().UTC(), Commit: buildCommit(), Machine: ThisMachine(), Notes: notes, Library: l}
}

// Faults says in sentences what makes the runs a failure; none if they are good.
func (r *HistoryReport) Faults() []string {
	var faults []string
	for _, run := range r.Runs {
		if run.Wrong > 0 {
			faults = append(faults, fmt.Sprintf("%d of %d pages (%d clients, %s) were wrong: %s", run.Wrong, run.Pages, run.Clients, run.Where, run.First))
		}
		if run.Pages == 0 {
			faults = append(faults, fmt.Sprintf("no page in the measuring window (%d clients, %s)", run.Clients, run.Where))
		}
	}
	return faults
}

// WriteText writes the report for people.
func (r *HistoryReport) WriteText(w io.Writer) error {
	var b strings.Builder
	l := r.Library
	fmt.Fprintf(&b, "%-16s%s messages in %s conversations of %s users; the database has %.1f GiB\n", "library",
		count(float64(l.Messages)), count(float64(l.Conversations)), count(float64(l.Users)), mebibytes(l.Bytes)/1024)
	if l.Filled > 0 {
		fmt.Fprintf(&b, "%-16s%s messages, %s/s\n", "filled", count(float64(l.Filled)), count(l.FillRate))
	}
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "%-16s%7s pages/s of %d; %s; %s\n", fmt.Sprintf("%d at the %s", run.Clients, run.Where), count(run.Rate), run.Limit, run.Latency, run.CPU)
	}
	fmt.Fprintf(&b, "%-16s%d × %s, %.0f GiB, Linux %s\n", "machine", r.Machine.Cores, r.Machine.CPU, mebibytes(r.Machine.Memory)/1024, r.Machine.Kernel)
	fmt.Fprintf(&b, "%-16s%s\n", "commit", r.Commit)
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%-16s%s\n", "note", note)
	}
	for _, fault := range r.Faults() {
		fmt.Fprintf(&b, "%-16s%s\n", "FAULT", fault)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
