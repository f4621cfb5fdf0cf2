package archtest

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	required = regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) v\S+( // indirect)?$`)
	toolLine = regexp.MustCompile(`(?m)^(?:tool )?\t?(\S+\.\S+/\S+)$`)
	tabled   = regexp.MustCompile(`(?m)^\| ([a-z0-9.-]+\.[a-z]+/\S+) \| (.*) \| (.+) \|$`)
)

// moduleFaults compares what go.mod requires directly, tools included, with the
// table that says why each is there.
func moduleFaults(goMod, table string) []string {
	explained := map[string]bool{}
	for _, row := range tabled.FindAllStringSubmatch(table, -1) {
		explained[row[1]] = true
	}
	var tools []string
	for _, line := range toolLine.FindAllStringSubmatch(goMod, -1) {
		tools = append(tools, line[1])
	}
	var faults []string
	present := map[string]bool{}
	for _, line := range required.FindAllStringSubmatch(goMod, -1) {
		name, indirect := line[1], line[2] != ""
		present[name] = true
		for _, tool := range tools {
			indirect = indirect && !strings.HasPrefix(tool+"/", name+"/")
		}
		if !indirect && !explained[name] {
			faults = append(faults, fmt.Sprintf("go.mod: %s has no line in docs/dependencies.md", name))
		}
	}
	for _, row := range tabled.FindAllStringSubmatch(table, -1) {
		if !present[row[1]] {
			faults = append(faults, fmt.Sprintf("docs/dependencies.md: %s is not in go.mod", row[1]))
		}
	}
	return faults
}
