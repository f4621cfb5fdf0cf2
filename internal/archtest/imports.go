package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// importFaults checks the imports of one Go file that is no test.
func importFaults(f file) []string {
	parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
	if err != nil {
		return []string{err.Error()}
	}
	from, known := roomOf(f.importPath())
	if !known {
		return []string{fmt.Sprintf("%s: package %s has no floor: give it one in internal/archtest/diagram.go", f.path, f.importPath())}
	}
	var faults []string
	for _, spec := range parsed.Imports {
		to, _ := strconv.Unquote(spec.Path.Value)
		if fault := importFault(from, to); fault != "" {
			faults = append(faults, fmt.Sprintf("%s: %s", f.path, fault))
		}
	}
	return faults
}

// importFault judges one import of the room from; empty is right.
func importFault(from, to string) string {
	if to != module && !strings.HasPrefix(to, module+"/") {
		return outsideFault(from, to)
	}
	target, known := roomOf(to)
	here, there := building[from], building[target]
	switch {
	case !known:
		return fmt.Sprintf("imports %s, which has no floor", to)
	case from == target:
		return ""
	case there.proof && !here.proof:
		return fmt.Sprintf("imports %s, which is for tests alone", to)
	case there.floor > here.floor:
		return fmt.Sprintf("imports %s on floor %d from floor %d: imports lead down", to, there.floor, here.floor)
	case there.floor == here.floor && !(here.proof && there.proof):
		return fmt.Sprintf("imports %s on its own floor %d: siblings do not see each other, declare an interface", to, here.floor)
	}
	return ""
}

// outsideFault judges an import of the standard library or another module.
func outsideFault(from, to string) string {
	for _, fence := range fences {
		if within(to, fence.outside) && !building[from].proof && !slices.Contains(fence.rooms, from) {
			return fmt.Sprintf("imports %s: %s (%s)", to, fence.why, strings.Join(fence.rooms, ", "))
		}
	}
	host, _, _ := strings.Cut(to, "/")
	if from == module && strings.Contains(host, ".") {
		return fmt.Sprintf("imports %s: the vocabulary uses the standard library only", to)
	}
	return ""
}

// roomOf finds the room of a package: its own, or the nearest folder's above.
func roomOf(importPath string) (string, bool) {
	for at := importPath; at != module && at != "."; at = path.Dir(at) {
		if _, found := building[at]; found {
			return at, true
		}
	}
	return module, importPath == module
}

// within reports whether a package path is prefix or lies below it.
func within(importPath, prefix string) bool {
	return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
}
