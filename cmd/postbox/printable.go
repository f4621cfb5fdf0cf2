package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// obeyed reports whether a terminal, or whatever shows text, does something else
// with a character than show it: control characters, line ends that are none in a
// file, and what turns the direction of the text beside it.
func obeyed(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// printable makes visible what a stranger has written for the terminal to obey:
// ESC becomes \x1b. Line ends and tabs stay if lines is set.
func printable(s string, lines bool) string {
	keep := func(r rune) bool { return lines && (r == '\n' || r == '\t') }
	if strings.IndexFunc(s, func(r rune) bool { return obeyed(r) && !keep(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !obeyed(r) || keep(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// writeJSONLine writes a JSON value as a line: a line end within can only be white
// space between values. On a terminal, characters that it would obey are written
// as the escapes that mean them; the value is the same.
func writeJSONLine(w io.Writer, value []byte, terminal bool) error {
	line := make([]byte, 0, len(value)+1)
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case c == '\n' || c == '\r':
			line = append(line, ' ')
		case c < utf8.RuneSelf && c != 0x7f || !terminal:
			line = append(line, c)
		default:
			r, size := utf8.DecodeRune(value[i:])
			if obeyed(r) {
				line = fmt.Appendf(line, `\u%04x`, r)
			} else {
				line = append(line, value[i:i+size]...)
			}
			i += size
			continue
		}
		i++
	}
	_, err := w.Write(append(line, '\n'))
	return err
}

// writeText writes a text that is printable.
func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}
