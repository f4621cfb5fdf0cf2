package archtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// compatible are the licences, by their SPDX names, of what a program under the
// Apache License 2.0 may be made of. Of those with conditions for changed files
// (MPL, EPL) we use the unchanged.
var compatible = []string{
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "EPL-2.0", "ISC", "MIT", "MPL-2.0", "Unlicense",
}

// recognised is how much of a licence's file must be text of known licences, in
// percent: names and years are not.
const recognised = 75

var licenceFile = regexp.MustCompile(`(?i)^(un)?licen[cs]e(\.(md|txt|mit|apache))?$|^copying(\.(md|txt))?$|^(edl|epl)-v\d+(\.(md|txt|html))?$`)

// licencesOf returns the licences of a module or package by the files in its
// directory, sorted. What is not known, or not among allowed, is an error.
func licencesOf(dir string, allowed []string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if !licenceFile.MatchString(entry.Name()) || entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		cover := licensecheck.Scan(text)
		if cover.Percent < recognised {
			return nil, fmt.Errorf("%s: only %.0f %% of it is the text of a known licence", entry.Name(), cover.Percent)
		}
		for _, match := range cover.Match {
			if !slices.Contains(allowed, match.ID) {
				return nil, fmt.Errorf("%s: the licence %s is not among those that go with Apache-2.0", entry.Name(), match.ID)
			}
			names = append(names, match.ID)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no file with a licence")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// goModules returns the directories of the modules outside of ours that the
// packages of a pattern are built from, by path.
func goModules(root string, patterns ...string) (map[string]string, error) {
	args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}"}, patterns...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	modules := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			modules[name] = dir
		}
	}
	return modules, nil
}

// npmFaults looks at the licence that each package of a lock file names.
func npmFaults(f file) []string {
	var lock struct {
		Packages map[string]struct{ License string }
	}
	if err := json.Unmarshal([]byte(f.text), &lock); err != nil {
		return []string{fmt.Sprintf("%s: %v", f.path, err)}
	}
	var faults []string
	for name, p := range lock.Packages {
		// Of several, "(A OR B)", one that fits is enough.
		choices := strings.Split(strings.Trim(p.License, "()"), " OR ")
		fits := slices.ContainsFunc(choices, func(id string) bool { return slices.Contains(compatible, id) })
		if name != "" && !fits {
			faults = append(faults, fmt.Sprintf("%s: %s has the licence %q, which is not among those that go with Apache-2.0", f.path, name, p.License))
		}
	}
	slices.Sort(faults)
	return faults
}

var licenceRow = regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \| ([^|]+) \|$`)

// listFaults compares the licences of what is in the program with the page that
// lists them.
func listFaults(found map[string][]string, page string) []string {
	listed := map[string]string{}
	for _, row := range licenceRow.FindAllStringSubmatch(page, -1) {
		listed[row[1]] = row[2]
	}
	var faults []string
	for name, licences := range found {
		want := strings.Join(licences, ", ")
		if listed[name] != want {
			faults = append(faults, fmt.Sprintf("docs/licences.md: it needs the line | %s | %s |", name, want))
		}
		delete(listed, name)
	}
	for name := range listed {
		faults = append(faults, fmt.Sprintf("docs/licences.md: %s is not in the program", name))
	}
	slices.Sort(faults)
	return faults
}
