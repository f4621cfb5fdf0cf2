package bench

import (
	"fmt"
	"io"
	"time"
)

// CatchUpOptions say what devices have missed, and where.
type CatchUpOptions struct {
	Address string // host:port of the broker's plain TCP listener
	// Away are users with one device each, which is away while Writers send.
	Away, Writers []Login
	// Messages are for each of them; rounded up, so that each writer has as many.
	Messages int
	BodySize int // at least MinBodySize
	// Window is the Receive Maximum of a device (MQTT 5): 1 to 65,535.
	Window  int
	Timeout time.Duration // for all of them to have all
	// Live, if set, is sent meanwhile: from Before ahead of their return until
	// After.
	Live          *Options
	Before, After time.Duration

	ServerPID, DatabasePID int // for processor time
}

// CatchUpRun is devices that came back at once and were sent all they had missed.
type CatchUpRun struct {
	Devices  int `json:"devices"`
	Messages int `json:"messages_each"`
	Window   int `json:"window"`
	// Stored is how fast it was written, while nobody was there.
	Stored  float64 `json:"stored_per_s"`
	Entries int     `json:"entries"`
	// Took is from the first CONNECT to the last entry of the last device; Latency
	// is of a device, from its CONNECT to its last entry.
	Took       float64 `json:"took_s"`
	Rate       float64 `json:"entries_per_s"`
	Latency    Latency `json:"until_caught_up"`
	EachSecond []int   `json:"entries_each_second"`
	// Server and Database are seconds of processor time per 10,000 entries; beside
	// a load it has its part in them.
	Server   float64 `json:"server_s_per_10k"`
	Database float64 `json:"database_s_per_10k"`

	// Holes are places where inbox_seq did not rise by one.
	Missing        int `json:"missing"`
	Repeated       int `json:"repeated"`
	Reordered      int `json:"reordered"`
	Misrouted      int `json:"misrouted"`
	Corrupt        int `json:"corrupt"`
	Holes          int `json:"holes"`
	WithoutSession int `json:"without_session"`

	Live *LiveRun `json:"live,omitempty"`
}

// LiveRun is what senders had beside the devices that came back.
type LiveRun struct {
	// Before, During and After are messages per second; Share is During of Before.
	Before float64 `json:"before_per_s"`
	During float64 `json:"during_per_s"`
	After  float64 `json:"after_per_s"`
	Share  float64 `json:"share"`
	// From and To are when the devices came and when all had all, in seconds of the
	// senders' window.
	From   float64 `json:"from_s"`
	To     float64 `json:"to_s"`
	Report *Report `json:"report"`
}

// CatchUpReport is one device that was away, and many beside senders.
type CatchUpReport struct {
	Started  time.Time       `json:"started"`
	Commit   string          `json:"commit"`
	Machine  Machine         `json:"machine"`
	Notes    []string        `json:"notes,omitempty"`
	BodySize int             `json:"body_bytes"`
	One      *CatchUpRun     `json:"one_device"`
	Many     *CatchUpRun     `json:"many_devices,omitempty"`
	Database *DatabaseReport `json:"database,omitempty"`
}

// NewCatchUpReport is a report without runs.
func NewCatchUpReport(bodySize int, notes []string) *CatchUpReport {
	return &CatchUpReport{Started: time.Now().UTC(), Commit: buildCommit(), Machine: ThisMachine(), Notes: notes, BodySize: bodySize}
}

// Stored is how many messages the server has acknowledged.
func (r *CatchUpReport) Stored() int {
	n := r.One.Entries
	if r.Many != nil {
		n += r.Many.Entries
		if r.Many.Live != nil {
			n += r.Many.Live.Report.TotalAcknowledged
		}
	}
	return n
}

// Faults says in sentences what makes the runs a failure; none if they are good.
func (r *CatchUpReport) Faults() []string {
	var faults []string
	for _, run := range []*CatchUpRun{r.One, r.Many} {
		if run == nil {
			continue
		}
		for _, f := range []struct {
			n    int
			what string
		}{
			{run.WithoutSession, "devices came back without their session"},
			{run.Missing, "messages missing at a device that came back"},
			{run.Repeated, "messages repeated"},
			{run.Reordered, "messages out of order"},
			{run.Misrouted, "messages at the wrong device"},
			{run.Corrupt, "bodies not as they were sent"},
			{run.Holes, "holes in the numbers of an inbox"},
		} {
			if f.n > 0 {
				faults = append(faults, fmt.Sprintf("%d %s", f.n, f.what))
			}
		}
		if run.Live != nil {
			faults = append(faults, run.Live.Report.Faults()...)
		}
	}
	return faults
}

// WriteText writes the report for people.
func (r *CatchUpReport) WriteText(w io.Writer) error {
	t := &page{}
	for _, run := range []*CatchUpRun{r.One, r.Many} {
		if run == nil {
			continue
		}
		t.line("catch-up", "%d device(s), %s messages of %d bytes each, %d on the way (stored at %s/s)",
			run.Devices, count(float64(run.Messages)), r.BodySize, run.Window, count(run.Stored))
		t.line("  entries", "%s/s: %s in %.2f s", count(run.Rate), count(float64(run.Entries)), run.Took)
		t.line("  each second", "%s", joinCounts(run.EachSecond))
		t.line("  until all", "%s", run.Latency)
		t.line("  deliveries", "%d missing, %d repeated, %d reordered, %d misrouted, %d corrupt, %d holes", run.Missing, run.Repeated, run.Reordered, run.Misrouted, run.Corrupt, run.Holes)
		t.line("  cpu of 10,000", "server %.3f s, database %.3f s", run.Server, run.Database)
		if l := run.Live; l != nil {
			t.line("  live senders", "%s/s before, %s/s during (%.2f of it), %s/s after", count(l.Before), count(l.During), l.Share, count(l.After))
			t.line("  live ack", "%s", l.Report.Acknowledgement)
		}
	}
	if r.Database != nil {
		for _, text := range r.Database.Lines() {
			t.line("database", "%s", text)
		}
	}
	t.about(r.Machine, r.Commit, r.Notes)
	for _, fault := range r.Faults() {
		t.line("FAULT", "%s", fault)
	}
	return t.write(w)
}
