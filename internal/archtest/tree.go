package archtest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// file is one text file of the repository.
type file struct {
	path string // from the root, with slashes
	text string
}

// elsewhere are folders that hold nothing of ours.
var elsewhere = []string{".git", "node_modules", "bin", "postbox-data", "postbox-acme", "vendor"}

// readTree returns every text file below root. It does not ask git, so it sees
// files before they are added and works without a clone.
func readTree(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(elsewhere, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(content, 0) >= 0 {
			return nil // a picture or the like
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		files = append(files, file{filepath.ToSlash(relative), string(content)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return files, nil
}

func (f file) isGo() bool   { return path.Ext(f.path) == ".go" }
func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// importPath is the package that a Go file belongs to.
func (f file) importPath() string { return path.Join(module, path.Dir(f.path)) }

// isSource tells what people write and read as program from documents, data and
// locks.
func (f file) isSource() bool {
	switch path.Base(f.path) {
	case "Makefile", "Dockerfile":
		return true
	}
	switch path.Ext(f.path) {
	case ".go", ".sql", ".sh", ".js", ".mjs", ".ts", ".css", ".html", ".yaml", ".yml":
		return true
	}
	return strings.HasPrefix(f.path, ".ci/")
}
