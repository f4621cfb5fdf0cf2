package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"postbox"
)

// CursorFile is a CursorStore in a file of one line, {epoch}:{inbox_seq}. It
// survives a crash of the program and of the machine: each place is written to
// a file beside it, with the same name and .new behind it, flushed to the disk,
// and renamed. One client at a time may use it.
type CursorFile string

// Load implements CursorStore. A file that is not there is no place yet; one
// that holds anything else is an error.
func (f CursorFile) Load(context.Context) (postbox.Position, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return postbox.Position{}, nil
	}
	if err != nil {
		return postbox.Position{}, err
	}
	at, err := postbox.ParsePosition(strings.TrimSuffix(string(data), "\n"))
	if err != nil || at.Epoch == "" {
		return postbox.Position{}, postbox.Errorf(postbox.CodeInvalid,
			"%s holds no cursor: write {epoch}:{inbox_seq} into it, or remove it to begin at the end of the inbox", string(f))
	}
	return at, nil
}

// Save implements CursorStore.
func (f CursorFile) Save(_ context.Context, at postbox.Position) error {
	fresh := string(f) + ".new"
	if err := writeThrough(fresh, at.String()+"\n"); err != nil {
		return err
	}
	if err := os.Rename(fresh, string(f)); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // which has no way to flush a directory
		return nil
	}
	dir, err := os.Open(filepath.Dir(string(f)))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", dir.Name(), err)
	}
	return nil
}

// writeThrough writes a file and flushes it to the disk.
func writeThrough(name, text string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
