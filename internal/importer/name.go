package importer

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/text/unicode/norm"

	"postbox"
)

// fold makes of a name what it is in Postbox, if anything: small letters, no space
// around it, an underscore for space within (docs/spec.md §2).
func fold(name string) string {
	return strings.ToLower(strings.Join(strings.Fields(norm.NFKC.String(name)), "_"))
}

// suggest is a name that fits, made of one that does not; empty if nothing is left
// of it.
func suggest(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(fold(name)) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() == 0:
		case r == '.', r == '_', r == '@', r == '-':
			b.WriteRune(r)
		}
	}
	s := b.String()
	return s[:min(len(s), postbox.MaxNameLength)]
}

// readMap reads a file of lines "old name,new name", as CSV. New names must fit.
func readMap(path string) (map[string]postbox.User, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--map: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord, r.Comment = 2, '#'
	names := make(map[string]postbox.User)
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, fmt.Errorf("--map %s: %w: a line is \"old name,new name\"", path, err)
		}
		line, _ := r.FieldPos(0)
		if _, twice := names[record[0]]; twice {
			return nil, fmt.Errorf("--map %s:%d: %q is there twice", path, line, record[0])
		}
		if names[record[0]], err = postbox.ParseUser(strings.TrimSpace(record[1])); err != nil {
			return nil, fmt.Errorf("--map %s:%d: %w", path, line, err)
		}
	}
}
