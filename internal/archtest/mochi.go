package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
)

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	mochiPin = regexp.MustCompile(`(?m)^\s*github\.com/mochi-mqtt/server/v2 (v\S+)`)
)

// mochiLedger is the package of Mochi that nobody imports: its filters match too
// much.
const mochiLedger = "github.com/mochi-mqtt/server/v2/hooks/auth"

// mochiFaults compares the table of facts about Mochi with the tests there are:
// each fact has its tests or a reason why not, each test that is named exists,
// and each contract test is named. The facts are those of one version.
func mochiFaults(table, goMod string, tests map[string]bool) (faults []string) {
	report := func(format string, args ...any) {
		faults = append(faults, "docs/mochi.md: "+fmt.Sprintf(format, args...))
	}
	if pin := mochiPin.FindStringSubmatch(goMod); pin == nil || !strings.Contains(table, " "+pin[1]+".") {
		report("is not about the version in go.mod: %v", pin)
	}
	facts := 0
	named := map[string]bool{}
	for n, line := range strings.Split(table, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what Mochi does |") {
			continue
		}
		facts++
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 4 {
			report("line %d has %d cells, not 4", n+1, len(cells))
			continue
		}
		for _, cell := range cells[2:] {
			found := testName.FindAllStringSubmatch(cell, -1)
			if len(found) == 0 && !strings.HasPrefix(cell, "– ") {
				report("line %d names neither a test nor a reason: %s", n+1, cell)
			}
			for _, name := range found {
				named[name[1]] = true
				if !tests[name[1]] {
					report("line %d names %s, which does not exist", n+1, name[1])
				}
			}
		}
	}
	if facts < 50 {
		report("has %d facts only", facts)
	}
	for name := range tests {
		if strings.HasPrefix(name, "TestMochi") && !named[name] {
			report("does not name %s", name)
		}
	}
	return faults
}

// testsOf lists the tests and fuzz targets of a file.
func testsOf(f file) (names []string, err error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, declaration := range parsed.Decls {
		if d, is := declaration.(*ast.FuncDecl); is && d.Recv == nil {
			if name := d.Name.Name; strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
