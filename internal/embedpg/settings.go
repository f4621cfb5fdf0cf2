package embedpg

import (
	"maps"
	"slices"
	"strings"
)

type setting struct{ name, value string }

// defaults are written to the end of postgresql.conf when a cluster is made. An
// operator may change them there.
var defaults = []setting{
	{"shared_buffers", "256MB"},
	{"max_connections", "60"},
	// Fewer checkpoints: each makes PostgreSQL write whole pages to the log again.
	{"max_wal_size", "2GB"},
	// While a new file of the log is made every commit waits: old ones are used again.
	{"min_wal_size", "1GB"},
	{"checkpoint_timeout", "15min"},
	// What a connection writes itself, since shared_buffers are full, goes to the disk
	// soon, not half a minute later with all the rest (see growth for files that grow).
	{"backend_flush_after", "512kB"},
	// Short statements only: compiling them costs more than it saves.
	{"jit", "off"},
	{"timezone", "UTC"},
	{"log_timezone", "UTC"},
	{"log_line_prefix", "%m [%p] "},
	// Statements and row values stay out of the log: they hold people's messages.
	{"log_min_error_statement", "panic"},
	{"log_error_verbosity", "terse"},
}

// reserved are the settings that [Options.Settings] may not name.
var reserved = map[string]bool{
	"fsync": true, "full_page_writes": true, "synchronous_commit": true,
	"listen_addresses": true, "port": true, "unix_socket_directories": true,
	"unix_socket_permissions": true, "unix_socket_group": true,
	"data_directory": true, "config_file": true, "hba_file": true, "ident_file": true,
	"external_pid_file": true, "logging_collector": true, "log_destination": true,
}

// socketPort is part of the socket's file name only: nothing listens on TCP.
const socketPort = "5432"

// arguments returns the postmaster's command line, where settings win over
// every file in the data directory and over ALTER SYSTEM.
func arguments(dataDir, socketDir string, noSync bool, extra map[string]string) []string {
	fixed := []setting{
		{"listen_addresses", ""},
		{"port", socketPort},
		{"unix_socket_directories", socketDir},
		{"unix_socket_permissions", "0700"},
		{"fsync", "on"},
		{"full_page_writes", "on"},
		{"synchronous_commit", "on"},
		// Messages go to the file that the child inherits.
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
	}
	if noSync {
		fixed = append(fixed, setting{"fsync", "off"}) // the later one wins
	}
	args := []string{"-D", dataDir}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		args = append(args, "-c", name+"="+extra[name])
	}
	for _, s := range fixed {
		args = append(args, "-c", s.name+"="+s.value)
	}
	return args
}

// configuration returns the lines for the end of postgresql.conf.
func configuration(settings []setting) string {
	var b strings.Builder
	b.WriteString("\n# Postbox's defaults. What keeps messages safe is set on the command line.\n")
	for _, s := range settings {
		b.WriteString(s.name + " = '" + strings.ReplaceAll(s.value, "'", "''") + "'\n")
	}
	return b.String()
}
