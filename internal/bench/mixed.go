package bench

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// MixedOptions say what an app's day is made of. Rates are per second; 0 leaves a
// part out.
type MixedOptions struct {
	// Direct is the direct messages, with their rate and times, which are those of
	// all parts.
	Direct Options
	// Room is a room with its rate.
	Room RoomOptions
	// API is host:port of HTTP; Shelves are read in, at HistoryRate, and their
	// positions set, at ReadRate.
	API                   string
	Shelves               []Shelf
	HistoryRate, ReadRate float64
	Limit                 int // messages of a page
	// Devices come back one after the other, at ReconnectRate, to their sessions.
	Devices       []Login
	ReconnectRate float64
}

// Part is one kind of what happened, as often as it was offered.
type Part struct {
	Kind    string  `json:"kind"`
	Offered float64 `json:"offered_per_s"`
	Done    float64 `json:"done_per_s"`
	// Latency is from when it was due.
	Latency Latency `json:"latency"`
	Wrong   int     `json:"wrong"`
	First   string  `json:"first_wrong,omitempty"`
}

// MixedReport is direct messages alone, and all kinds at once.
type MixedReport struct {
	Started time.Time `json:"started"`
	Commit  string    `json:"commit"`
	Machine Machine   `json:"machine"`
	Notes   []string  `json:"notes,omitempty"`
	// Alone is the direct messages with nothing beside them, Direct are those of
	// the mix, and Room its room.
	Alone    *Report         `json:"direct_alone"`
	Direct   *Report         `json:"direct"`
	Room     *RoomRun        `json:"room,omitempty"`
	Parts    []*Part         `json:"parts"`
	Members  int             `json:"members"`
	Online   int             `json:"online"`
	Database *DatabaseReport `json:"database,omitempty"`
}

// NewMixedReport is a report without runs.
func NewMixedReport(members, online int, notes []string) *MixedReport {
	return &MixedReport{Started: time.Now().UTC(), Commit: buildCommit(), Machine: ThisMachine(), Notes: notes, Members: members, Online: online}
}

// What direct messages alone, a thousand a second, are measured against, in
// milliseconds end to end.
const (
	targetP50 = 2.0
	targetP99 = 15.0
)

// Target says whether direct messages alone are as fast as they should be, and by how
// much not.
func (r *MixedReport) Target() string {
	said := func(name string, got, want float64) string {
		if got < want {
			return fmt.Sprintf("%s %s of %g ms: met", name, ms(got), want)
		}
		return fmt.Sprintf("%s %s ms: %.1f times the %g ms to reach", name, ms(got), got/want, want)
	}
	e := r.Alone.EndToEnd
	return said("p50", e.P50, targetP50) + "; " + said("p99", e.P99, targetP99)
}

// Stored is how many messages the server has acknowledged.
func (r *MixedReport) Stored() int {
	n := r.Alone.TotalAcknowledged + r.Direct.TotalAcknowledged
	if r.Room != nil {
		n += r.Room.Sent
	}
	return n
}

// Faults says in sentences what makes the runs a failure; none if they are good.
func (r *MixedReport) Faults() []string {
	faults := slices.Concat(r.Alone.Faults(), r.Room.faults(), r.Direct.Faults())
	for _, p := range r.Parts {
		if p.Wrong > 0 {
			faults = append(faults, fmt.Sprintf("%d of %s went wrong, the first: %s", p.Wrong, p.Kind, p.First))
		}
		if p.Latency.Count == 0 {
			faults = append(faults, "nothing of "+p.Kind+" was done")
		}
	}
	return faults
}

// WriteText writes the report for people.
func (r *MixedReport) WriteText(w io.Writer) error {
	t := &page{}
	t.line("direct alone", "%s offered/s, %s/s; %s", count(r.Alone.Load.Rate), count(r.Alone.AcknowledgedRate), r.Alone.EndToEnd)
	t.line("  to reach", "%s", r.Target())
	t.line("in the mix", "end to end, by kind")
	t.line("  direct", "%s offered/s, %s/s; %s", count(r.Direct.Load.Rate), count(r.Direct.AcknowledgedRate), r.Direct.EndToEnd)
	if r.Room != nil {
		t.line("  room", "%.1f/s to %d members, %d online; to the last: %s", r.Room.Messages, r.Members, r.Online, r.Room.LastMember)
	}
	for _, p := range r.Parts {
		t.line("  "+p.Kind, "%.1f offered/s, %.1f/s; %s", p.Offered, p.Done, p.Latency)
	}
	c := r.Direct.CPU
	t.line("cores in use", "%.2f of %d: generator %.2f, others %s, stolen %.2f", c.Busy, r.Machine.Cores, c.Generator, optional(c.Others), c.Steal)
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
