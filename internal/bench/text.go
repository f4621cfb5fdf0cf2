package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteText writes the report for people: a page of about twenty lines.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-16s%s\n", label, fmt.Sprintf(format, args...))
	}
	line("broker", "%s, MQTT %s", strings.TrimSpace(r.Name+" "+r.Address), r.Load.Protocol)
	line("load", "%s", r.Load.String())
	line("acknowledged", "%s/s  (%s in %.1f s)", count(r.AcknowledgedRate), count(float64(r.Acknowledged)), r.Window)
	line("delivered", "%s/s to every device  (%s deliveries; all there %.1f s after the last publish)",
		count(r.DeliveredRate), count(float64(r.Delivered)), r.Drained)
	line("each second", "%s", joinCounts(r.EachSecond))
	line("ack latency", "%s", r.Acknowledgement.String())
	line("end to end", "%s", r.EndToEnd.String())
	l := &r.Losses
	line("messages", "%s sent, %s acknowledged, %d refused%s, %d unanswered",
		count(float64(r.Total)), count(float64(r.TotalAcknowledged)), l.Refused, reasons(l.RefusedReasons), l.Unanswered)
	line("deliveries", "%d missing, %d repeated, %d reordered, %d misrouted, %d corrupt",
		l.Missing, l.Repeated, l.Reordered, l.Misrouted, l.Corrupt)
	c := &r.CPU
	line("cpu per 10,000", "server %s, database %s, generator %s",
		seconds(c.ServerPer10k), seconds(c.DatabasePer10k), seconds(c.GeneratorPer10k))
	line("cores in use", "%.2f of %d: generator %.2f, others %s, stolen %.2f",
		c.Busy, r.Machine.Cores, c.Generator, optional(c.Others), c.Steal)
	if r.Memory != nil {
		line("server memory", "%.1f MiB idle, %.1f MiB at most", mebibytes(r.Memory.Idle), mebibytes(r.Memory.Peak))
	}
	if r.Database != nil {
		for _, text := range r.Database.Lines() {
			line("database", "%s", text)
		}
	}
	if r.Settling != nil {
		line("afterwards", "%s", r.Settling.String())
	}
	line("machine", "%d × %s, %.0f GiB, Linux %s", r.Machine.Cores, r.Machine.CPU, mebibytes(r.Machine.Memory)/1024, r.Machine.Kernel)
	line("commit", "%s", r.Commit)
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	if c.Generator > 0.85 {
		line("warning", "the generator was busy %.0f %% of its one thread: the broker may be faster than this", 100*c.Generator)
	}
	for _, fault := range append(r.Faults(), r.DatabaseFaults()...) {
		line("FAULT", "%s", fault)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Lines are the report on the database for people, without line ends.
func (d *DatabaseReport) Lines() []string {
	kinds := map[string]int{}
	for _, table := range d.Tables {
		kinds[table.Persistence]++
	}
	syncs := "not counted"
	if d.WALSyncs != nil {
		syncs = count(float64(*d.WALSyncs))
	}
	return []string{
		fmt.Sprintf("%s: fsync %s, full_page_writes %s, synchronous_commit %s, wal_sync_method %s (on %s)",
			d.Version, d.Fsync, d.FullPageWrites, d.SynchronousCommit, d.WALSyncMethod, d.SeenOn),
		fmt.Sprintf("%d tables: %d permanent, %d unlogged, %d temporary; data on %s, log on %s (%s)",
			len(d.Tables), kinds["permanent"], kinds["unlogged"], kinds["temporary"], d.DataFileSystem, d.WALFileSystem, d.DataDirectory),
		fmt.Sprintf("%s commits, %s syncs of the log, %.1f MiB of log, %s rows",
			count(float64(d.Commits)), syncs, mebibytes(d.WALBytes), count(float64(d.Rows))),
	}
}

// String is for people.
func (s *Settling) String() string {
	return fmt.Sprintf("all was indexed %.1f s after the last message, for which server %s, database %s of cpu per 10,000", s.Seconds, seconds(s.ServerPer10k), seconds(s.DatabasePer10k))
}

// String is the load in one line.
func (l Load) String() string {
	pace := "as fast as it goes"
	if l.Rate > 0 {
		pace = count(l.Rate) + "/s"
	}
	sessions := ""
	if l.Session {
		sessions = ", stored sessions"
	}
	return fmt.Sprintf("%d senders with %d on the way, %d device(s) each, %d bytes, %s%s; %g s after %g s of warm-up",
		l.Senders, l.Window, l.Devices, l.BodySize, pace, sessions, l.Duration, l.WarmUp)
}

// String is the distribution in one line.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms", ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max))
}

// count is a number with thousands separated.
func count(v float64) string {
	digits := strconv.FormatInt(int64(v+0.5), 10)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func joinCounts(counts []int) string {
	parts := make([]string, len(counts))
	for i, n := range counts {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, " ")
}

// ms gives milliseconds with three figures.
func ms(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func seconds(v *float64) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(*v, 'f', 3, 64) + " s"
}

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(*v, 'f', 2, 64)
}

func reasons(counts map[string]int) string {
	if len(counts) == 0 {
		return ""
	}
	return fmt.Sprintf(" %v", counts)
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
