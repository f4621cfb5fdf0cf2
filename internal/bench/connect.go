package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Login is a user with what it connects with.
type Login struct{ User, Password string }

// ConnectOptions say how many idle connections to make and where.
type ConnectOptions struct {
	Name string // of the broker, in reports
	// Address is host:port of plain TCP, or a ws:// URL.
	Address     string
	Connections int
	// Logins share the connections evenly. Sender is one more, who writes to each
	// of them to see that all are heard.
	Logins []Login
	Sender Login
	Topic  string // of a user, with {recipient}
	AtOnce int    // handshakes at once
	Settle time.Duration
	// Timeout bounds the time in which all connect, and that in which all return.
	Timeout time.Duration
	// Kill ends the server's process instead of the connections; somebody else has
	// to start it again.
	Kill bool

	// ServerPID and DatabasePID are for memory and processor time; HeapURL is the
	// heap profile of the server, if it is written in Go.
	ServerPID, DatabasePID int
	HeapURL                string

	// patience is how long a device waits for a message that it has not heard, and
	// that was acknowledged to its sender; 0: ten seconds.
	patience time.Duration
}

// ConnectRun is what one broker did.
type ConnectRun struct {
	Round       int    `json:"round"`
	Name        string `json:"name"`
	Address     string `json:"address"`
	Connections int    `json:"connections"`
	// First is the connecting of new devices, with SUBSCRIBE; Storm is their
	// return, all at once, to their sessions.
	First  Arrival           `json:"first"`
	Storm  Arrival           `json:"storm"`
	Cut    string            `json:"cut"` // how the connections ended in between
	Memory *ConnectionMemory `json:"memory,omitempty"`
	// Missing, Repeated, Misrouted and Corrupt are of the message to every device
	// that is sent after each arrival. Resent came before the storm and again after
	// it, which at least once allows.
	Missing   int `json:"missing"`
	Repeated  int `json:"repeated"`
	Misrouted int `json:"misrouted"`
	Corrupt   int `json:"corrupt"`
	Resent    int `json:"resent"`
}

// Arrival is many connections that are made as fast as it goes.
type Arrival struct {
	Took float64 `json:"took_s"` // until all were in
	Rate float64 `json:"connections_per_s"`
	// Latency is of a device, from its first attempt.
	Latency    Latency `json:"latency"`
	EachSecond []int   `json:"connections_each_second"`
	// Attempts are all that were made; Refused counts CONNACK codes such as "0x03",
	// the rest ended without one.
	Attempts int            `json:"attempts"`
	Refused  map[string]int `json:"refused,omitempty"`
	// WithoutSession were told that there is none, or, the first time, that there
	// is one.
	WithoutSession int `json:"wrong_session"`
	// Server and Database are seconds of processor time per 1,000 connections.
	Server   float64 `json:"server_s_per_1k"`
	Database float64 `json:"database_s_per_1k"`
}

// ConnectionMemory is what the server takes, before the first connection and once
// all are idle, in bytes. A later round finds memory that the process has kept, so
// that the resident size counts in the first one.
type ConnectionMemory struct {
	ResidentBefore int64 `json:"resident_before_bytes"`
	ResidentAfter  int64 `json:"resident_after_bytes"`
	HeapBefore     int64 `json:"heap_before_bytes"`
	HeapAfter      int64 `json:"heap_after_bytes"`
	StackBefore    int64 `json:"stack_before_bytes"`
	StackAfter     int64 `json:"stack_after_bytes"`
	// Of a connection, in units of 1,024 bytes; Heap is without stacks.
	Resident float64 `json:"resident_kib_per_connection"`
	Heap     float64 `json:"heap_kib_per_connection"`
	Stack    float64 `json:"stack_kib_per_connection"`
}

func memoryOf(before, after footprint, connections int) *ConnectionMemory {
	each := func(before, after int64) float64 { return float64(after-before) / 1024 / float64(connections) }
	return &ConnectionMemory{
		before.resident, after.resident, before.heap, after.heap, before.stack, after.stack,
		each(before.resident, after.resident), each(before.heap, after.heap), each(before.stack, after.stack),
	}
}

// footprint is what a server takes of memory, in bytes.
type footprint struct{ resident, heap, stack int64 }

// ConnectRatio relates the first broker to another one: more is faster, or larger.
type ConnectRatio struct {
	Against string  `json:"against"`
	Rate    float64 `json:"connections_per_s"`
	Storm   float64 `json:"storm_connections_per_s"`
	// Resident is of the first round; Heap includes stacks.
	Resident       float64   `json:"resident"`
	Heap           float64   `json:"heap"`
	RateEachRound  []float64 `json:"connections_per_s_each_round"`
	StormEachRound []float64 `json:"storm_connections_per_s_each_round"`
	HeapEachRound  []float64 `json:"heap_each_round"`
}

// ConnectReport is the runs of several brokers.
type ConnectReport struct {
	Started     time.Time      `json:"started"`
	Commit      string         `json:"commit"`
	Machine     Machine        `json:"machine"`
	Notes       []string       `json:"notes,omitempty"`
	Connections int            `json:"connections"`
	Users       int            `json:"users"`
	AtOnce      int            `json:"handshakes_at_once"`
	Ratios      []ConnectRatio `json:"ratios,omitempty"`
	Runs        []*ConnectRun  `json:"runs"`
}

// NewConnectReport is a report without runs.
func NewConnectReport(connections, users, atOnce int, notes []string) *ConnectReport {
	return &ConnectReport{
		Started: time.Now().UTC(), Commit: buildCommit(), Machine: ThisMachine(), Notes: notes,
		Connections: connections, Users: users, AtOnce: atOnce,
	}
}

// Relate forms the ratios of one broker to the others, round by round.
func (r *ConnectReport) Relate(broker string) {
	byName := map[string][]*ConnectRun{}
	for _, run := range r.Runs {
		byName[run.Name] = append(byName[run.Name], run)
	}
	r.Ratios = nil
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if name == broker {
			continue
		}
		ratio := ConnectRatio{Against: name}
		first, other := byName[broker], byName[name]
		for i := range min(len(first), len(other)) {
			a, b := first[i], other[i]
			ratio.RateEachRound = append(ratio.RateEachRound, Share(a.First.Rate, b.First.Rate))
			ratio.StormEachRound = append(ratio.StormEachRound, Share(a.Storm.Rate, b.Storm.Rate))
			if a.Memory == nil || b.Memory == nil {
				continue
			}
			if i == 0 {
				ratio.Resident = Share(a.Memory.Resident, b.Memory.Resident)
			}
			ratio.HeapEachRound = append(ratio.HeapEachRound, Share(a.Memory.Heap+a.Memory.Stack, b.Memory.Heap+b.Memory.Stack))
		}
		ratio.Rate, ratio.Storm = Median(ratio.RateEachRound), Median(ratio.StormEachRound)
		if len(ratio.HeapEachRound) > 0 {
			ratio.Heap = Median(ratio.HeapEachRound)
		}
		r.Ratios = append(r.Ratios, ratio)
	}
}

// Faults says in sentences what makes the runs of a broker a failure; none if they
// are good.
func (r *ConnectReport) Faults(name string) []string {
	var faults []string
	for _, run := range r.Runs {
		if run.Name == name {
			faults = append(faults, run.Faults()...)
		}
	}
	return faults
}

// Faults says in sentences what makes the run a failure; none if it is good.
func (r *ConnectRun) Faults() []string {
	var faults []string
	for _, f := range []struct {
		n    int
		what string
	}{
		{r.First.WithoutSession, "new devices found a session"},
		{r.Storm.WithoutSession, "devices came back without their session"},
		{r.Missing, "messages missing at a device"},
		{r.Repeated, "messages repeated at a device"},
		{r.Misrouted, "messages at another user's device"},
		{r.Corrupt, "bodies not as they were sent"},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	return faults
}

// WriteText writes the report for people.
func (r *ConnectReport) WriteText(w io.Writer) error {
	t := &page{}
	t.line("connections", "%s of %s users, %d handshakes at once", count(float64(r.Connections)), count(float64(r.Users)), r.AtOnce)
	for _, run := range r.Runs {
		t.line("broker", "%s %s, round %d", run.Name, run.Address, run.Round)
		t.line("  connecting", "%s", run.First)
		t.line("  storm", "%s; %s", run.Storm, run.Cut)
		if m := run.Memory; m != nil {
			t.line("  memory", "%.1f KiB resident per connection (%.1f to %.1f MiB); %.1f of heap and %.1f of stacks",
				m.Resident, mebibytes(m.ResidentBefore), mebibytes(m.ResidentAfter), m.Heap, m.Stack)
		}
		t.line("  deliveries", "%d missing, %d repeated, %d misrouted, %d corrupt, %d sent again after the cut", run.Missing, run.Repeated, run.Misrouted, run.Corrupt, run.Resent)
		for _, fault := range run.Faults() {
			t.line("  FAULT", "%s", fault)
		}
	}
	for _, ratio := range r.Ratios {
		t.line("ratio to "+ratio.Against, "connections/s %.2f, storm %.2f; memory: resident %.2f, heap and stacks %.2f", ratio.Rate, ratio.Storm, ratio.Resident, ratio.Heap)
	}
	t.about(r.Machine, r.Commit, r.Notes)
	return t.write(w)
}

// String is the arrival in one line.
func (a Arrival) String() string {
	refused := ""
	if n := a.Attempts - int(a.Latency.Count); n > 0 {
		refused = fmt.Sprintf(", %d attempts failed%s", n, reasons(a.Refused))
	}
	return fmt.Sprintf("%.2f s, %s/s; %s%s; per 1,000: server %.3f s, database %.3f s", a.Took, count(a.Rate), a.Latency, refused, a.Server, a.Database)
}

// page is a report for people.
type page struct{ strings.Builder }

func (p *page) line(label, format string, args ...any) {
	fmt.Fprintf(p, "%-16s%s\n", label, fmt.Sprintf(format, args...))
}

// about ends a page.
func (p *page) about(m Machine, commit string, notes []string) {
	p.line("machine", "%d × %s, %.0f GiB, Linux %s", m.Cores, m.CPU, mebibytes(m.Memory)/1024, m.Kernel)
	p.line("commit", "%s", commit)
	for _, note := range notes {
		p.line("note", "%s", note)
	}
}

func (p *page) write(w io.Writer) error {
	_, err := io.WriteString(w, p.String())
	return err
}
