package mutants

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the repository, seen from this package's folder.
const root = "../../.."

// Every mutant still fits the source.
func TestMutantsFitTheSource(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, m := range All {
		if names[m.Name] || m.Fault == "" || len(m.Edits) == 0 {
			t.Errorf("mutant %q: its name must be its own, and it must say what it does", m.Name)
		}
		names[m.Name] = true
		path, err := m.Overlay(root, t.TempDir())
		if err != nil {
			t.Error(err)
			continue
		}
		var overlay struct{ Replace map[string]string }
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &overlay); err != nil {
			t.Fatal(err)
		}
		for from, to := range overlay.Replace {
			before, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			after, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			if cmp.Equal(before, after) {
				t.Errorf("mutant %s leaves %s as it is", m.Name, from)
			}
		}
	}
}

// Every mutant of a function of the schema is in the migration that made it last.
func TestMutantsAreInFunctionsThatAreUsed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "schema/migrations/*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`CREATE (?:OR REPLACE )?FUNCTION (postbox\.\w+)\(`)
	last := make(map[string]string) // of each function, the migration
	for _, file := range files {    // in their order
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range made.FindAllSubmatch(text, -1) {
			last[string(name[1])] = "schema/migrations/" + filepath.Base(file)
		}
	}
	if last["postbox.append"] == "" {
		t.Fatalf("functions: %v", last)
	}
	for _, m := range All {
		for _, e := range m.Edits {
			if !strings.HasSuffix(e.File, ".sql") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				t.Fatal(err)
			}
			before, _, _ := strings.Cut(string(text), e.Old)
			before = before[strings.LastIndex(before, "+goose StatementEnd")+1:] // what the edit is in
			if in := made.FindStringSubmatch(before); in != nil && last[in[1]] != e.File {
				t.Errorf("mutant %s changes %s in %s, and %s makes it anew", m.Name, in[1], e.File, last[in[1]])
			}
		}
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	e := Edit{File: "a.go", Old: "x", New: "yy"}
	for text, want := range map[string]string{"axb": "ayyb", "ab": "0 times", "xx": "2 times"} {
		got, err := e.Apply(text)
		if err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestOverlayEditsOneFileTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "a.go")
	if err := os.WriteFile(source, []byte("one two"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := Mutant{Name: "m", Edits: []Edit{{"a.go", "one", "1"}, {"a.go", "two", "2"}}}
	if _, err := m.Overlay(dir, dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "m-0.go"))
	if err != nil || string(got) != "1 2" {
		t.Errorf("got %q, %v", got, err)
	}
	m.Edits = append(m.Edits, Edit{"gone.go", "x", "y"})
	if _, err := m.Overlay(dir, dir); err == nil {
		t.Error("a file that is not there is taken")
	}
}
