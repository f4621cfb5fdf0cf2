package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// RoomOptions say how to load a room and where.
type RoomOptions struct {
	Address  string // host:port of the broker's plain TCP listener
	Room     string
	Members  int      // of the room, online or not
	Online   []string // who has a device that reads
	Password string   // everybody's
	// Passwords, if set, gives each member's instead.
	Passwords func(user string) string
	Senders   int     // how many of those who are online write
	Window    int     // publishes that each may have unacknowledged
	Rate      float64 // messages per second of all senders; 0: as fast as it goes
	BodySize  int     // at least MinBodySize
	// Connected, if set, is called when all are, before the first message.
	Connected func()

	WarmUp, Duration, Drain time.Duration
	ConnectTimeout          time.Duration
}

// RoomRun is the outcome of one load. An entry is a row in the inbox of a member,
// online or not; the sender's own is one of them.
type RoomRun struct {
	Sent            int     `json:"sent"`
	Messages        float64 `json:"messages_per_s"`
	Entries         float64 `json:"entries_per_s"`
	Deliveries      float64 `json:"deliveries_per_s"`
	Acknowledgement Latency `json:"acknowledgement"`
	// LastMember is from the sending to the last device of those online.
	LastMember Latency `json:"to_the_last_member"`
	Missing    int     `json:"missing"`
	Repeated   int     `json:"repeated"`
	Disordered int     `json:"in_another_order"`
	Corrupt    int     `json:"corrupt"`
}

type roomFaults struct{ Missing, Repeated, Disordered, Corrupt int }

// RoomReport is a load on a room, and direct messages beside it.
type RoomReport struct {
	Started time.Time `json:"started"`
	Commit  string    `json:"commit"`
	Machine Machine   `json:"machine"`
	Notes   []string  `json:"notes,omitempty"`
	Members int       `json:"members"`
	Online  int       `json:"online"`
	// Full is the room as fast as it goes.
	Full *RoomRun `json:"full"`
	// Rounds take turns, so that what a machine does now and then meets both.
	Rounds []RoomRound `json:"rounds,omitempty"`
	// BytesPerMessage is what a message takes in the database, BytesPerMember what
	// its entry takes for each member, with indexes.
	BytesPerMessage float64         `json:"bytes_per_message"`
	BytesPerMember  float64         `json:"bytes_per_message_and_member"`
	Database        *DatabaseReport `json:"database,omitempty"`
}

// RoomRound is direct messages alone, and beside a room at its pace.
type RoomRound struct {
	Alone  *Report  `json:"direct_alone"`
	Beside *Report  `json:"direct_beside"`
	Paced  *RoomRun `json:"paced"`
}

// NewRoomReport is a report without runs.
func NewRoomReport(members, online int, notes []string) *RoomReport {
	return &RoomReport{Started: time.Now().UTC(), Commit: buildCommit(), Machine: ThisMachine(), Notes: notes, Members: members, Online: online}
}

// P99 are the 99th percentiles of direct messages alone and beside the room, in
// milliseconds: the median of the rounds. There must be one.
func (r *RoomReport) P99() (alone, beside float64) {
	var a, b []float64
	for _, round := range r.Rounds {
		a, b = append(a, round.Alone.EndToEnd.P99), append(b, round.Beside.EndToEnd.P99)
	}
	return Median(a), Median(b)
}

// Faults says in sentences what makes the runs a failure; none if they are good.
func (r *RoomReport) Faults() []string {
	faults := r.Full.faults()
	for _, round := range r.Rounds {
		faults = append(faults, round.Alone.Faults()...)
		faults = append(faults, round.Beside.Faults()...)
		faults = append(faults, round.Paced.faults()...)
	}
	return faults
}

// faults are none of nothing.
func (r *RoomRun) faults() (faults []string) {
	if r == nil {
		return nil
	}
	for what, n := range map[string]int{
		"deliveries missing": r.Missing, "repeated": r.Repeated, "in another order than elsewhere": r.Disordered, "not as they were sent": r.Corrupt,
	} {
		if n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", n, what))
		}
	}
	if r.Messages == 0 {
		faults = append(faults, "nothing was acknowledged in the measuring window")
	}
	return faults
}

// WriteText writes the report for people.
func (r *RoomReport) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-16s%s\n", label, fmt.Sprintf(format, args...))
	}
	line("room", "%s members, %d online", count(float64(r.Members)), r.Online)
	run := func(label string, run *RoomRun) {
		line(label, "%.1f messages/s, %s entries/s, %s deliveries/s", run.Messages, count(run.Entries), count(run.Deliveries))
		line("  acknowledged", "%s", run.Acknowledgement)
		line("  last member", "%s", run.LastMember)
		line("  deliveries", "%d missing, %d repeated, %d in another order, %d corrupt", run.Missing, run.Repeated, run.Disordered, run.Corrupt)
	}
	run("full speed", r.Full)
	line("bytes", "%.0f per message, and %.0f for each member", r.BytesPerMessage, r.BytesPerMember)
	for _, round := range r.Rounds {
		line("direct alone", "%.0f/s; %s", round.Alone.AcknowledgedRate, round.Alone.EndToEnd)
		line("direct beside", "%.0f/s; %s", round.Beside.AcknowledgedRate, round.Beside.EndToEnd)
		run("  the room", round.Paced)
	}
	if len(r.Rounds) > 0 {
		alone, beside := r.P99()
		line("p99 of direct", "alone %.1f ms, beside %.1f ms: %.1f times (medians)", alone, beside, Share(beside, alone))
	}
	if r.Database != nil {
		for _, text := range r.Database.Lines() {
			line("database", "%s", text)
		}
	}
	line("machine", "%d × %s, %.0f GiB, Linux %s", r.Machine.Cores, r.Machine.CPU, mebibytes(r.Machine.Memory)/1024, r.Machine.Kernel)
	line("commit", "%s", r.Commit)
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	for _, fault := range r.Faults() {
		line("FAULT", "%s", fault)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
