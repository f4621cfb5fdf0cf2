package archtest

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// mostLines is where a file stops being read in one sitting.
const mostLines = 500

// written is a file that a test writes, as long as what it shows is.
const written = "schema/schema.sql"

var (
	// Written in two parts, so that this file keeps its own rule.
	marker = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	skip   = regexp.MustCompile(`\b\w+\.Skip(f|Now)?\(`)
	short  = regexp.MustCompile(`\btesting\.Short\(`)
)

// habitFaults checks what every source file keeps.
func habitFaults(f file) []string {
	if !f.isSource() {
		return nil
	}
	var faults []string
	lines := strings.Split(strings.TrimSuffix(f.text, "\n"), "\n")
	for i, line := range lines {
		if found := marker.FindString(line); found != "" {
			faults = append(faults, fmt.Sprintf("%s:%d: %s: finish it, or file it", f.path, i+1, found))
		}
		if f.isGo() && (skip.MatchString(line) || short.MatchString(line)) {
			faults = append(faults, fmt.Sprintf("%s:%d: a test that is skipped shows nothing: make it run or remove it", f.path, i+1))
		}
	}
	if len(lines) > mostLines && f.path != written {
		faults = append(faults, fmt.Sprintf("%s: %d lines, at most %d: split it by noun or verb", f.path, len(lines), mostLines))
	}
	return faults
}

// lockFaults checks that an npm lock file names no host, so that it installs
// from whatever registry a machine uses.
func lockFaults(f file) []string {
	if path.Base(f.path) != "package-lock.json" {
		return nil
	}
	var lock struct {
		Packages map[string]struct{ Resolved, Integrity, Version string }
	}
	if err := json.Unmarshal([]byte(f.text), &lock); err != nil {
		return []string{fmt.Sprintf("%s: %v", f.path, err)}
	}
	if len(lock.Packages) < 2 {
		return []string{f.path + ": locks nothing"}
	}
	var faults []string
	for name, p := range lock.Packages {
		if p.Resolved != "" {
			faults = append(faults, fmt.Sprintf("%s: %s has a \"resolved\" host: lock with omit-lockfile-registry-resolved", f.path, name))
		}
		if name != "" && p.Integrity == "" {
			faults = append(faults, fmt.Sprintf("%s: %s has no integrity hash", f.path, name))
		}
	}
	return faults
}
