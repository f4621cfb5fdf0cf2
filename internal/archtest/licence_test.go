package archtest

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Every module that we build with, tests and tools included, has a licence that
// goes with ours, and what is in the program is listed.
func TestLicences(t *testing.T) {
	t.Parallel()
	root := "../.."
	all, err := goModules(root, "-test", "./...", "tool")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d modules", len(all))
	}
	shipped, err := goModules(root, "./cmd/postbox", "./client")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for name, dir := range all {
		licences, err := licencesOf(dir, compatible)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, is := shipped[name]; is {
			found[name] = licences
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "licences.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range listFaults(found, string(page)) {
		t.Error(fault)
	}
	files, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if path.Base(f.path) != "package-lock.json" {
			continue
		}
		for _, fault := range npmFaults(f) {
			t.Error(fault)
		}
	}
}

func TestLicencesOfADirectory(t *testing.T) {
	t.Parallel()
	ours, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := goModules("../..", "./hooks", "./web")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(modules["github.com/coder/websocket"], "LICENSE.txt"))
	if err != nil {
		t.Fatal(err)
	}
	isc := string(text)
	for name, test := range map[string]struct {
		files    map[string]string
		licences string
		fault    string
	}{
		"apache":       {map[string]string{"LICENSE": string(ours)}, "Apache-2.0", ""},
		"two":          {map[string]string{"LICENSE.md": isc, "COPYING": string(ours)}, "Apache-2.0 ISC", ""},
		"none":         {map[string]string{"README.md": isc}, "", "no file with a licence"},
		"own words":    {map[string]string{"LICENSE": "You may use this on weekdays, if you are kind.\n"}, "", "known licence"},
		"more than it": {map[string]string{"LICENSE": isc + strings.Repeat("But you may not sell it to people on ships.\n", 40)}, "", "known licence"},
	} {
		dir := t.TempDir()
		for file, text := range test.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := licencesOf(dir, compatible)
		if strings.Join(got, " ") != test.licences || (err != nil) != (test.fault != "") || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := licencesOf("../..", []string{"MIT"}); err == nil || !strings.Contains(err.Error(), "Apache-2.0 is not among") {
		t.Errorf("where only MIT will do: %v", err)
	}
}

func TestLicencesOfPackages(t *testing.T) {
	t.Parallel()
	for licence, faults := range map[string]int{"MIT": 0, "(MIT OR GPL-3.0-or-later)": 0, "GPL-3.0-only": 1, "": 1, "SEE LICENSE IN x": 1} {
		f := file{"js/package-lock.json", `{"packages":{"":{},"node_modules/x":{"license":"` + licence + `"}}}`}
		if got := npmFaults(f); len(got) != faults {
			t.Errorf("%q: %v, want %d faults", licence, got, faults)
		}
	}
	found := map[string][]string{"one.example/a": {"MIT"}, "one.example/b": {"BSD-3-Clause"}}
	page := "| module | licence |\n|---|---|\n| one.example/a | ISC |\n| one.example/c | MIT |\n"
	if got := listFaults(found, page); len(got) != 3 {
		t.Errorf("faults of the list: %q", got)
	}
}
