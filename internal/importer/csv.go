package importer

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// csvTable is a file whose first line names its columns.
type csvTable struct {
	path   string
	comma  rune
	header []string
}

func openCSV(path string) (*csvTable, error) {
	t := &csvTable{path: path}
	f, r, err := t.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if t.header, err = r.Read(); err != nil {
		return nil, fmt.Errorf("%s: the line with the names of the columns cannot be read: %w", path, err)
	}
	return t, nil
}

// open opens the file behind a byte order mark, at the header.
func (t *csvTable) open() (*os.File, *csv.Reader, error) {
	f, err := os.Open(t.path)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(f, 1<<18)
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3)
	}
	if t.comma == 0 {
		t.comma = separator(in)
	}
	r := csv.NewReader(in)
	r.Comma, r.ReuseRecord, r.FieldsPerRecord = t.comma, true, len(t.header)
	return f, r, nil
}

// separator is what stands most often in the first line.
func separator(in *bufio.Reader) rune {
	first, _ := in.Peek(4096)
	first, _, _ = bytes.Cut(first, []byte("\n"))
	best, most := ',', bytes.Count(first, []byte(","))
	for _, r := range ";\t|" {
		if n := bytes.Count(first, []byte(string(r))); n > most {
			best, most = r, n
		}
	}
	return best
}

func (t *csvTable) label() string { return filepath.Base(t.path) }

func (t *csvTable) columns() []column {
	all := make([]column, len(t.header))
	for i, name := range t.header {
		all[i].name = strings.TrimSpace(name)
	}
	return all
}

func (t *csvTable) count(context.Context) (int64, error) { return -1, nil }

// read reads the file in its order, whatever the key. \N is NULL, as MySQL writes it.
func (t *csvTable) read(ctx context.Context, columns []string, _ int, each func([]sql.NullString) error) error {
	f, r, err := t.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := r.Read(); err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	places := make([]int, len(columns))
	for i, name := range columns {
		for j, c := range t.columns() {
			if c.name == name {
				places[i] = j
			}
		}
	}
	row := make([]sql.NullString, len(columns))
	for {
		record, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", t.path, err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		for i, place := range places {
			row[i] = sql.NullString{String: record[place], Valid: record[place] != `\N`}
		}
		if err := each(row); err != nil {
			return err
		}
	}
}
