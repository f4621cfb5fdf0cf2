//go:build linux || darwin

package embedpg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLog is the size at which the log starts anew. One older file is kept.
const maxLog = 16 << 20

// logFile is PostgreSQL's own log, Dir/postgres.log. The child inherits it and
// goes on writing when this process is gone.
type logFile struct {
	path string
	file *os.File
	max  int64
}

func openLog(dir string) (*logFile, error) {
	l := &logFile{path: filepath.Join(dir, "postgres.log"), max: maxLog}
	var err error
	l.file, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open postgresql log: %w", err)
	}
	return l, nil
}

// trim copies a log that has grown too large to postgres.log.1 and empties it.
// The child has it open for appending, so it cannot be renamed. A line written
// in between is lost.
func (l *logFile) trim() error {
	if l.size() <= l.max {
		return nil
	}
	old, err := os.OpenFile(l.path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("trim postgresql log: %w", err)
	}
	_, err = io.Copy(old, io.NewSectionReader(l.file, 0, l.size()))
	if err := errors.Join(err, old.Close(), l.file.Truncate(0)); err != nil {
		return fmt.Errorf("trim postgresql log: %w", err)
	}
	return nil
}

func (l *logFile) size() int64 {
	info, err := l.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// complaint returns the last error in what was logged from offset on, without
// its time; the last line if none is marked as one.
func (l *logFile) complaint(offset int64) string {
	offset = max(offset, l.size()-16<<10)
	text, _ := io.ReadAll(io.NewSectionReader(l.file, offset, 16<<10))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		for _, level := range []string{"PANIC:", "FATAL:", "ERROR:"} {
			if _, message, found := strings.Cut(lines[i], level); found {
				return strings.TrimSpace(message)
			}
		}
	}
	return lines[len(lines)-1]
}

func (l *logFile) close() error { return l.file.Close() }
