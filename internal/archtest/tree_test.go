package archtest

import (
	"os"
	"path/filepath"
	"testing"
)

// root is the repository, seen from this package's folder.
const root = "../.."

func tree(t *testing.T) []file {
	t.Helper()
	files, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files below %s: is this the repository?", len(files), root)
	}
	return files
}

// all applies check to the files that matter to it and reports what it finds.
func all(t *testing.T, matters func(file) bool, check func(file) []string) {
	t.Helper()
	checked := 0
	for _, f := range tree(t) {
		if !matters(f) {
			continue
		}
		checked++
		for _, fault := range check(f) {
			t.Error(fault)
		}
	}
	if checked == 0 {
		t.Error("no file was checked")
	}
}

func product(f file) bool { return f.isGo() && !f.isTest() }

func TestImports(t *testing.T) {
	t.Parallel()
	all(t, product, importFaults)
}

func TestDeclarations(t *testing.T) {
	t.Parallel()
	all(t, product, declarationFaults)
}

func TestHabits(t *testing.T) {
	t.Parallel()
	all(t, file.isSource, habitFaults)
}

func TestLocks(t *testing.T) {
	t.Parallel()
	all(t, func(f file) bool { return filepath.Base(f.path) == "package-lock.json" }, lockFaults)
}

func TestModules(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	for _, f := range tree(t) {
		texts[f.path] = f.text
	}
	for _, fault := range moduleFaults(texts["go.mod"], texts["docs/dependencies.md"]) {
		t.Error(fault)
	}
}

// A floor for a package that is gone would hide its return.
func TestEveryRoomIsLivedIn(t *testing.T) {
	t.Parallel()
	lived := map[string]bool{}
	for _, f := range tree(t) {
		if name, known := roomOf(f.importPath()); f.isGo() && known {
			lived[name] = true
		}
	}
	for name := range building {
		if !lived[name] {
			t.Errorf("%s is in the diagram, but holds no Go file", name)
		}
	}
}

func TestReadTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.go": "package a", "sub/b.sql": "SELECT 1", ".ci/run": "#!/bin/sh", "picture.png": "\x89PNG\x00",
		"js/node_modules/x/index.js": "x", ".git/config": "x", "bin/tool": "x",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := readTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range files {
		got[f.path] = true
	}
	if len(got) != 3 || !got["a.go"] || !got["sub/b.sql"] || !got[".ci/run"] {
		t.Errorf("got %v", got)
	}
}
