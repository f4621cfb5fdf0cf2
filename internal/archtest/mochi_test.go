package archtest

import (
	"strings"
	"testing"
)

// docs/mochi.md says what is so: it is the inventory of the fence around Mochi.
func TestMochiDocument(t *testing.T) {
	t.Parallel()
	var table, goMod string
	tests := map[string]bool{}
	for _, f := range tree(t) {
		switch {
		case f.path == "docs/mochi.md":
			table = f.text
		case f.path == "go.mod":
			goMod = f.text
		case f.isGo() && f.isTest():
			names, err := testsOf(f)
			if err != nil {
				t.Error(err)
			}
			for _, name := range names {
				tests[name] = true
			}
		case f.isGo() && !strings.HasPrefix(f.path, "internal/") && strings.Contains(f.text, `"`+mochiLedger+`"`):
			t.Errorf("%s imports Mochi's ledger", f.path)
		}
	}
	for _, fault := range mochiFaults(table, goMod, tests) {
		t.Error(fault)
	}
}

func TestFaultsOfTheMochiDocument(t *testing.T) {
	t.Parallel()
	row := "| it breaks | we mend | `TestMochiA` | – never |\n"
	good := "Mochi v1.2.3.\n" + strings.Repeat(row, 50)
	const mod = "\tgithub.com/mochi-mqtt/server/v2 v1.2.3\n"
	for name, test := range map[string]struct {
		table string
		tests string
		want  string
	}{
		"good":            {good, "TestMochiA", ""},
		"another version": {strings.Replace(good, "v1.2.3", "v1.2.4", 1), "TestMochiA", "is not about the version"},
		"no such test":    {good, "", "names TestMochiA, which does not exist"},
		"not named":       {good, "TestMochiA TestMochiB", "does not name TestMochiB"},
		"no reason":       {good + "| a | b | `TestMochiA` | perhaps |\n", "TestMochiA", "neither a test nor a reason"},
		"cells":           {good + "| a | `TestMochiA` |\n", "TestMochiA", "2 cells"},
		"few":             {"Mochi v1.2.3.\n" + row, "TestMochiA", "1 facts only"},
	} {
		tests := map[string]bool{}
		for _, name := range strings.Fields(test.tests) {
			tests[name] = true
		}
		got := strings.Join(mochiFaults(test.table, mod, tests), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
