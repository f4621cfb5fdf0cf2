package bench

import (
	"strings"
	"testing"
)

// durable is a report without a fault for a run of 100,000 messages.
func durable() *DatabaseReport {
	syncs := int64(1000)
	return &DatabaseReport{
		Fsync: "on", FullPageWrites: "on", SynchronousCommit: "on",
		Tables:         []Table{{"messages", "permanent"}, {"logs", "permanent"}},
		DataFileSystem: "ext4", WALFileSystem: "unknown",
		WALSyncs: &syncs, Rows: 300_000,
	}
}

func TestDatabaseFaults(t *testing.T) {
	t.Parallel()
	few := int64(10)
	for name, test := range map[string]struct {
		change func(*DatabaseReport)
		want   string
	}{
		"durable":            {func(*DatabaseReport) {}, ""},
		"stronger than on":   {func(d *DatabaseReport) { d.SynchronousCommit = "remote_apply" }, ""},
		"syncs not counted":  {func(d *DatabaseReport) { d.WALSyncs = nil }, ""},
		"fsync":              {func(d *DatabaseReport) { d.Fsync = "off" }, "fsync is off"},
		"full_page_writes":   {func(d *DatabaseReport) { d.FullPageWrites = "off" }, "full_page_writes is off"},
		"synchronous_commit": {func(d *DatabaseReport) { d.SynchronousCommit = "off" }, "synchronous_commit is off"},
		"local only":         {func(d *DatabaseReport) { d.SynchronousCommit = "local" }, "synchronous_commit is local"},
		"unlogged":           {func(d *DatabaseReport) { d.Tables[1].Persistence = "unlogged" }, "logs (unlogged)"},
		"data in memory":     {func(d *DatabaseReport) { d.DataFileSystem = "tmpfs" }, "data directory is in memory"},
		"log in memory":      {func(d *DatabaseReport) { d.WALFileSystem = "ramfs" }, "write-ahead log is in memory"},
		"too few rows":       {func(d *DatabaseReport) { d.Rows = 99_999 }, "99999 new rows for 100000"},
		"too few syncs":      {func(d *DatabaseReport) { d.WALSyncs = &few }, "with 10 syncs of the log"},
	} {
		d := durable()
		test.change(d)
		r := &Report{Database: d, TotalAcknowledged: 100_000, Load: Load{Senders: 50, Window: 32}}
		got := strings.Join(r.DatabaseFaults(), "; ")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	if faults := new(Report).DatabaseFaults(); faults != nil {
		t.Errorf("without a database: %q", faults)
	}
}
