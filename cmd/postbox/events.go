package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds a line of a stream, with the largest message in it.
const maxLine = 64 << 20

// event is one of Server-Sent Events (the HTML standard, §9.2.6).
type event struct {
	id   string // the last that was given, which may be an earlier event's
	data []byte
}

// events reads a stream. An event counts when the empty line behind it has come:
// what the connection was cut in is no event, and comes again.
type events struct {
	lines *bufio.Scanner
	id    string
	alive func() // called at each line, comments too
}

func newEvents(r io.Reader, alive func()) *events {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	lines.Split(splitLine)
	return &events{lines: lines, alive: alive}
}

// next returns the next event, without data too. The error is io.EOF at the end.
func (e *events) next() (event, error) {
	now := event{}
	named := false
	for e.lines.Scan() {
		e.alive()
		line := e.lines.Bytes()
		if len(line) == 0 {
			if named || now.data != nil {
				now.id = e.id
				return now, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			if !bytes.ContainsRune(value, 0) {
				e.id, named = string(value), true
			}
		case "data":
			if now.data != nil {
				now.data = append(now.data, '\n')
			}
			now.data = append(now.data, value...)
		}
	}
	if err := e.lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return event{}, errors.New("the stream has a line that is longer than any message")
	} else if err != nil {
		return event{}, err
	}
	return event{}, io.EOF
}

// splitLine splits at LF and CRLF, and leaves out a line that has not come whole.
func splitLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}
