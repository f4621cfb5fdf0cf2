package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Mutant is Postbox with a fault.
type Mutant struct {
	Name  string
	Fault string // what it does wrong, in a few words
	Edits []Edit
}

// Edit replaces a piece of a source file.
type Edit struct {
	File string // from the root of the repository, with slashes
	Old  string // is in the file exactly once
	New  string
}

// Apply returns the text with the edit made.
func (e Edit) Apply(text string) (string, error) {
	if n := strings.Count(text, e.Old); n != 1 {
		return "", fmt.Errorf("%s has the following text %d times, and must have it once: adapt the mutant to the source\n%s", e.File, n, e.Old)
	}
	return strings.Replace(text, e.Old, e.New, 1), nil
}

// Overlay writes the mutant's files into dir and returns the path of a file for
// go build -overlay. root is the repository.
func (m Mutant) Overlay(root, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	texts := make(map[string]string)
	for _, e := range m.Edits {
		path := filepath.Join(root, filepath.FromSlash(e.File))
		text, edited := texts[path]
		if !edited {
			data, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("mutant %s: %w", m.Name, err)
			}
			text = string(data)
		}
		if texts[path], err = e.Apply(text); err != nil {
			return "", fmt.Errorf("mutant %s: %w", m.Name, err)
		}
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for path, text := range texts {
		to := filepath.Join(dir, m.Name+"-"+strconv.Itoa(len(overlay.Replace))+filepath.Ext(path))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[path] = to
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, m.Name+".json")
	return name, os.WriteFile(name, data, 0o600)
}
