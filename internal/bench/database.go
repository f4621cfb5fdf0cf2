package bench

import (
	"context"
	"fmt"
	"strings"
)

// DatabaseProbe looks at the database behind a broker.
type DatabaseProbe interface {
	// Begin is called before the first connection, to note counters.
	Begin(ctx context.Context) error
	// End is called after the drain. Each acknowledged message is at least a
	// row: End may wait some seconds until statistics have caught up with that.
	End(ctx context.Context, acknowledged int) (*DatabaseReport, error)
	// Settle is called after End and waits until the broker has done what it does
	// behind its messages.
	Settle(ctx context.Context) error
}

// Settling is what a broker did after a run that it had put off, such as to index what
// was sent: until then it is no fair neighbour of another broker's run.
type Settling struct {
	// Seconds are from the last message to its end.
	Seconds float64 `json:"s"`
	// The processor time of that, in seconds for 10,000 messages of the whole run; nil
	// where it was not measured.
	ServerPer10k   *float64 `json:"server_s_per_10k"`
	DatabasePer10k *float64 `json:"database_s_per_10k"`
}

// Table is one table and where its rows are: "permanent", "unlogged" or
// "temporary".
type Table struct {
	Name        string `json:"name"`
	Persistence string `json:"persistence"`
}

// DatabaseReport says how durable a PostgreSQL behind a broker was, and what it
// did during the whole run.
type DatabaseReport struct {
	Version string `json:"version"`
	// SeenOn names the connection that the settings were read on.
	SeenOn            string `json:"seen_on"`
	Fsync             string `json:"fsync"`
	FullPageWrites    string `json:"full_page_writes"`
	SynchronousCommit string `json:"synchronous_commit"`
	WALSyncMethod     string `json:"wal_sync_method"`

	Tables        []Table `json:"tables"`
	DataDirectory string  `json:"data_directory"`
	// DataFileSystem and WALFileSystem are types such as "ext4", or "unknown"
	// where the directory is not on this machine or not readable.
	DataFileSystem string `json:"data_file_system"`
	WALFileSystem  string `json:"wal_file_system"`

	// Commits, WALSyncs, WALBytes and Rows are the transactions, synchronous
	// writes and bytes of the log and rows inserted into the tables above, as
	// far as the server's statistics had got: the last second may be missing.
	// WALSyncs is nil where they are not counted.
	Commits  int64  `json:"commits"`
	WALSyncs *int64 `json:"wal_syncs"`
	WALBytes int64  `json:"wal_bytes"`
	Rows     int64  `json:"rows_inserted"`
}

// faults judges durability. Beside the settings it holds the figures to what
// they must obey: each sync of the log lets go at most what was on its way, so
// acknowledged messages cannot be more than syncs times that. A server that
// switches synchronous_commit off on its own connections is found out by it;
// half is allowed for the counters' delay.
func (d *DatabaseReport) faults(acknowledged, inFlight int) []string {
	var faults []string
	for _, setting := range [...]struct{ name, value string }{
		{"fsync", d.Fsync},
		{"full_page_writes", d.FullPageWrites},
		{"synchronous_commit", d.SynchronousCommit},
	} {
		if setting.value == "off" {
			faults = append(faults, setting.name+" is off")
		}
	}
	if d.SynchronousCommit == "local" || d.SynchronousCommit == "remote_write" {
		faults = append(faults, fmt.Sprintf("synchronous_commit is %s: state figures with on", d.SynchronousCommit))
	}
	for _, place := range [...]struct{ what, fileSystem string }{
		{"the data directory", d.DataFileSystem},
		{"the write-ahead log", d.WALFileSystem},
	} {
		if place.fileSystem == "tmpfs" || place.fileSystem == "ramfs" {
			faults = append(faults, place.what+" is in memory ("+place.fileSystem+")")
		}
	}
	var volatile []string
	for _, table := range d.Tables {
		if table.Persistence != "permanent" {
			volatile = append(volatile, table.Name+" ("+table.Persistence+")")
		}
	}
	if len(volatile) > 0 {
		faults = append(faults, "tables without a log: "+strings.Join(volatile, ", "))
	}
	if d.Rows < int64(acknowledged) {
		faults = append(faults, fmt.Sprintf("the database has counted %d new rows for %d acknowledged messages: is it the broker's?", d.Rows, acknowledged))
	}
	if d.WALSyncs != nil && 2*(*d.WALSyncs+1)*int64(inFlight) < int64(acknowledged) {
		faults = append(faults, fmt.Sprintf("%d messages were acknowledged with %d syncs of the log and %d on their way: some were not on disk",
			acknowledged, *d.WALSyncs, inFlight))
	}
	return faults
}
