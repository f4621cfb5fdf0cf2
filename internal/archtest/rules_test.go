package archtest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestImportFault(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, to, want string }{
		{"postbox/inbox", "postbox", ""},
		{"postbox/broker", "postbox/hooks", ""},
		{"postbox/cmd", "postbox/store", ""},
		{"postbox/web", "postbox/web/page", ""},
		{"postbox/internal/pgtest", "postbox/internal/embedpg", ""},
		{"postbox/internal/proof", "postbox/internal/pgtest", ""},
		{"postbox", "strings", ""},
		{"postbox/store", "database/sql", ""},
		{"postbox/internal/proof", "database/sql", ""},
		{"postbox/hooks", "github.com/mochi-mqtt/server/v2/packets", ""},
		{"postbox/internal/bench/baremochi", "github.com/mochi-mqtt/server/v2", ""},
		{"postbox", "postbox/auth", "imports postbox/auth on floor 1 from floor 0: imports lead down"},
		{"postbox/inbox", "postbox/store", "imports postbox/store on its own floor 1: siblings do not see each other, declare an interface"},
		{"postbox/hooks", "postbox/web", "imports postbox/web on its own floor 2: siblings do not see each other, declare an interface"},
		{"postbox/hooks", "postbox/broker", "imports postbox/broker on floor 3 from floor 2: imports lead down"},
		{"postbox/broker", "postbox/internal/proof", "imports postbox/internal/proof, which is for tests alone"},
		{"postbox/cmd", "postbox/internal/pgtest", "imports postbox/internal/pgtest, which is for tests alone"},
		{"postbox/hooks", "postbox/attic", "imports postbox/attic, which has no floor"},
		{"postbox", "github.com/google/uuid", "imports github.com/google/uuid: the vocabulary uses the standard library only"},
		{"postbox/hooks", "github.com/lib/pq/oid", "imports github.com/lib/pq/oid: SQL stays in few places (postbox/store, postbox/schema, postbox/cmd, postbox/internal/embedpg, postbox/internal/importer)"},
		{"postbox/inbox", "database/sql/driver", "imports database/sql/driver: SQL stays in few places (postbox/store, postbox/schema, postbox/cmd, postbox/internal/embedpg, postbox/internal/importer)"},
		{"postbox/inbox", "github.com/mochi-mqtt/server/v2", "imports github.com/mochi-mqtt/server/v2: the broker's insides stay at the edge (postbox/hooks, postbox/broker, postbox/examples, postbox/internal/bench/baremochi)"},
	} {
		if diff := cmp.Diff(test.want, importFault(test.from, test.to)); diff != "" {
			t.Errorf("%s → %s: -want +got:\n%s", test.from, test.to, diff)
		}
	}
}

func TestImportFaultsNeedAFloor(t *testing.T) {
	t.Parallel()
	got := importFaults(file{"attic/box.go", "package attic\n"})
	want := []string{"attic/box.go: package postbox/attic has no floor: give it one in internal/archtest/diagram.go"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Behind a build tag, too.
	got = importFaults(file{"inbox/plan9.go", "//go:build plan9\n\npackage inbox\n\nimport _ \"postbox/store\"\n"})
	if len(got) != 1 || !strings.Contains(got[0], "siblings") {
		t.Errorf("got %q", got)
	}
}

func TestHabitFaults(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\n", mostLines+1)
	for _, test := range []struct {
		path, text string
		faults     int
	}{
		{"a.go", "package a\n// method and todo are words\n", 0},
		{"a.go", "package a // TO" + "DO later\n", 1},
		{"a.sql", "-- FIX" + "ME\n-- XX" + "X\n", 2},
		{"Makefile", "# TO" + "DO\n", 1},
		{".ci/run", "# TO" + "DO\n", 1},
		{"notes.md", "TO" + "DO\n", 0},
		{"a_test.go", "t.Sk" + "ip(\"no database\")\n", 1},
		{"a_test.go", "b.Sk" + "ipNow()\nf.Sk" + "ipf(\"%d\", 1)\n", 2},
		{"a_test.go", "if testing.Sh" + "ort() {\n", 1},
		{"a_test.go", "reader.Skipped(); bufio.SkipSpace()\n", 0},
		{"a.go", long[1:], 0},
		{"a.go", long, 1},
		{"go.sum", long, 0},
	} {
		if got := habitFaults(file{test.path, test.text}); len(got) != test.faults {
			t.Errorf("%s %.40q: got %q, want %d faults", test.path, test.text, got, test.faults)
		}
	}
}

func TestLockFaults(t *testing.T) {
	t.Parallel()
	const good = `{"packages":{"":{"name":"x"},"node_modules/mqtt":{"version":"5.0.0","integrity":"sha512-a"}}}`
	for text, faults := range map[string]int{
		good: 0,
		`{"packages":{"":{},"node_modules/mqtt":{"integrity":"sha512-a","resolved":"https://registry.example/mqtt.tgz"}}}`: 1,
		`{"packages":{"":{},"node_modules/mqtt":{"version":"5.0.0"}}}`:                                                     1,
		`{"packages":{"":{}}}`: 1,
		`{`:                    1,
	} {
		if got := lockFaults(file{"js/package-lock.json", text}); len(got) != faults {
			t.Errorf("%s: got %q, want %d faults", text, got, faults)
		}
	}
}

func TestDeclarationFaults(t *testing.T) {
	t.Parallel()
	const text = `package a

type Bare struct{}

// Told is documented.
type Told struct{}

func (Told) Bare() {}
func (Told) String() string { return "" }
func (hidden) Bare() {}
func Bare2[T any]() {}

type hidden struct{}

// Units.
const (
	A = 1
	B = 2
)

var C, c = 1, 2

var D = 3 // of something

type wide interface{ a(); b(); c(); d(); e(); f() }
`
	want := []string{
		"a/a.go:3:6: Bare has no comment",
		"a/a.go:8:1: Bare has no comment",
		"a/a.go:11:1: Bare2 has no comment",
		"a/a.go:21:5: C has no comment",
		"a/a.go:25:11: an interface of 6 methods, at most 5",
	}
	if diff := cmp.Diff(want, declarationFaults(file{"a/a.go", text})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestModuleFaults(t *testing.T) {
	t.Parallel()
	const goMod = "module postbox\n\ngo 1.26\n\nrequire one.example/a v1.0.0\n\nrequire (\n" +
		"\ttwo.example/b/v2 v2.0.0\n\ttwo.example/c v0.1.0 // indirect\n\ttools.example/lint v0.1.0 // indirect\n)\n\n" +
		"tool (\n\ttools.example/lint/cmd/lint\n)\n"
	const table = "| module | why | licence |\n|---|---|---|\n| one.example/a | reasons | MIT |\n| old.example/x | was good | MIT |\n"
	want := []string{
		"go.mod: two.example/b/v2 has no line in docs/dependencies.md",
		"go.mod: tools.example/lint has no line in docs/dependencies.md",
		"docs/dependencies.md: old.example/x is not in go.mod",
	}
	if diff := cmp.Diff(want, moduleFaults(goMod, table)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
