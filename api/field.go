package api

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"postbox"
)

// Kind says what a field of a request holds.
type Kind uint8

// The kinds of field.
const (
	KindText   Kind = iota // a string
	KindNumber             // an integer
	KindFlag               // true or false
	KindNames              // an array of user names
	KindBytes              // a string of base64
	KindObject             // the app's own JSON object, kept as it was sent
	KindBound              // a seq (integer), an id (UUID) or a time (RFC 3339)
)

// maxNumber is the largest integer that JavaScript keeps exactly.
const maxNumber = 1<<53 - 1

// Field is one member of a request: what decoding demands of it and what the
// documents say of it are the same lines.
type Field struct {
	Name     string
	Kind     Kind
	Doc      string
	Required bool
	Min, Max int64  // of a number; the most bytes of a text or items of names
	Pattern  string // of a text
	Format   string // of a text: uuid
	Enum     []string
	// TooLarge makes a text or bytes beyond Max too_large instead of invalid.
	TooLarge bool
	// Edge says at which edge alone the field exists.
	Edge Edge

	check func(string) error // of a text, beyond its length
}

// Edge is a way in.
type Edge uint8

// The edges.
const (
	EdgeBoth Edge = iota
	EdgeHTTP
	EdgeMQTT
)

// value is a field as a request gives it.
type value struct {
	set   bool
	text  string
	n     int64
	flag  bool
	names []postbox.User
	bytes []byte
	bound postbox.Bound
}

// parse reads one value of the field from its JSON text, whose grammar is known
// to be right.
func (f *Field) parse(raw []byte) (value, error) {
	switch f.Kind {
	case KindNumber:
		return f.parseNumber(raw)
	case KindFlag:
		if s := string(raw); s == "true" || s == "false" {
			return value{set: true, flag: s == "true"}, nil
		}
		return value{}, f.wrongType(raw, "true or false")
	case KindNames:
		return f.parseNames(raw)
	case KindObject:
		if raw[0] != '{' {
			return value{}, f.wrongType(raw, "an object")
		}
		if int64(len(raw)) > f.Max {
			return value{}, f.tooLong(len(raw))
		}
		return value{set: true, text: string(raw)}, nil
	case KindBound:
		return f.parseBound(raw)
	}
	if raw[0] != '"' {
		return value{}, f.wrongType(raw, "a string")
	}
	s := unquote(raw)
	if f.Kind == KindBytes {
		return f.parseBytes(s)
	}
	return f.parseText(s)
}

func (f *Field) parseText(s string) (value, error) {
	if f.Max > 0 && int64(len(s)) > f.Max {
		return value{}, f.tooLong(len(s))
	}
	if f.Enum != nil && !contains(f.Enum, s) {
		return value{}, postbox.Errorf(postbox.CodeInvalid, "%s must be one of %s, not %s", f.Name, strings.Join(f.Enum, ", "), quote(s))
	}
	if f.check != nil {
		if err := f.check(s); err != nil {
			return value{}, f.wrap(err)
		}
	}
	return value{set: true, text: s}, nil
}

func (f *Field) parseBytes(s string) (value, error) {
	if int64(base64.StdEncoding.DecodedLen(len(s))) > f.Max+2 {
		return value{}, f.tooLong(base64.StdEncoding.DecodedLen(len(s)))
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return value{}, postbox.Errorf(postbox.CodeInvalid, "%s is not base64 (RFC 4648 §4, with padding)", f.Name)
	}
	if int64(len(b)) > f.Max {
		return value{}, f.tooLong(len(b))
	}
	return value{set: true, bytes: b}, nil
}

func (f *Field) parseNumber(raw []byte) (value, error) {
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return value{}, f.wrongType(raw, "an integer")
	}
	n, ok := integer(raw)
	if !ok || n < f.Min || n > f.Max {
		return value{}, postbox.Errorf(postbox.CodeInvalid, "%s must be an integer from %d to %d, not %s", f.Name, f.Min, f.Max, shown(raw))
	}
	return value{set: true, n: n}, nil
}

func (f *Field) parseNames(raw []byte) (value, error) {
	if raw[0] != '[' {
		return value{}, f.wrongType(raw, "an array of user names")
	}
	v := value{set: true}
	err := eachOf(raw, func(item []byte) error {
		if item[0] != '"' {
			return f.wrongType(item, "an array of user names")
		}
		if int64(len(v.names)) == f.Max {
			return postbox.Errorf(postbox.CodeInvalid, "%s holds more than %d names: ask in parts", f.Name, f.Max)
		}
		name, err := postbox.ParseUser(unquote(item))
		if err != nil {
			return f.wrap(err)
		}
		v.names = append(v.names, name)
		return nil
	})
	if err == nil && len(v.names) == 0 {
		err = postbox.Errorf(postbox.CodeInvalid, "%s is empty: give at least one name", f.Name)
	}
	return v, err
}

// parseBound reads a seq, an id or a time (docs/spec.md §7, history).
func (f *Field) parseBound(raw []byte) (value, error) {
	v := value{set: true, bound: postbox.Bound{Set: true}}
	if raw[0] != '"' {
		if c := raw[0]; c != '-' && (c < '0' || c > '9') {
			return value{}, f.wrongType(raw, "a seq (an integer), an id (a UUID) or a time (RFC 3339)")
		}
		n, ok := integer(raw)
		if !ok || n < 0 || n > maxNumber {
			return value{}, postbox.Errorf(postbox.CodeInvalid, "%s is not a seq: %s", f.Name, shown(raw))
		}
		v.bound.Seq = postbox.Seq(n)
		return v, nil
	}
	s := unquote(raw)
	var err error
	if v.bound.ID, err = postbox.ParseMessageID(s); err == nil {
		return v, nil
	}
	if v.bound.Time, err = time.Parse(time.RFC3339Nano, strings.ToUpper(s)); err == nil {
		return v, nil
	}
	return value{}, postbox.Errorf(postbox.CodeInvalid, "%s must be a seq (an integer), an id (a UUID) or a time (RFC 3339), not %s", f.Name, quote(s))
}

// integer reads a JSON number that has the value of an integer, in whatever
// form it is written: 50, 50.0 and 5e1 are the same to JSON Schema.
func integer(raw []byte) (int64, bool) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, true
	}
	if !bytes.ContainsAny(raw, ".eE") {
		return 0, false
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || x != x || x < -maxNumber || x > maxNumber || x != float64(int64(x)) {
		return 0, false
	}
	return int64(x), true
}

func (f *Field) wrongType(raw []byte, want string) error {
	if string(raw) == "null" {
		return postbox.Errorf(postbox.CodeInvalid, "%s must be %s, not null: leave it out instead", f.Name, want)
	}
	return postbox.Errorf(postbox.CodeInvalid, "%s must be %s, not %s", f.Name, want, typeOf(raw))
}

func (f *Field) tooLong(n int) error {
	code := postbox.CodeInvalid
	if f.TooLarge {
		code = postbox.CodeTooLarge
	}
	return postbox.Errorf(code, "%s has %d bytes; at most %d are allowed", f.Name, n, f.Max)
}

// wrap names the field in an error of the vocabulary.
func (f *Field) wrap(err error) error {
	e := postbox.AsError(err)
	return postbox.Errorf(e.Code, "%s: %s", f.Name, e.Message)
}

func typeOf(raw []byte) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return string(raw)
	}
	return "a number"
}

// unquote reads a JSON string whose grammar is known to be right.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	s, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return ""
	}
	return string(s)
}

func shown(raw []byte) string {
	if len(raw) > 40 {
		return string(raw[:40]) + "…"
	}
	return string(raw)
}

// quote shows at most the first 80 bytes of a stranger's string.
func quote(s string) string {
	if len(s) <= 80 {
		return strconv.Quote(s)
	}
	cut := 80
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}
