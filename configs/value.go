package configs

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is one field of a Config, as text. Its errors do not name the key and
// never repeat a secret.
type value interface {
	set(text string) error // parse, check and keep
	check() error          // is what is there now allowed?
	String() string        // what set would read back
}

// scalar is a value of one word.
type scalar[T any] struct {
	field  *T
	parse  func(string) (T, error)
	format func(T) string
	allow  func(T) error
}

func (s scalar[T]) set(text string) error {
	parsed, err := s.parse(text)
	if err != nil {
		return err
	}
	if err := s.allow(parsed); err != nil {
		return err
	}
	*s.field = parsed
	return nil
}

func (s scalar[T]) check() error   { return s.allow(*s.field) }
func (s scalar[T]) String() string { return s.format(*s.field) }

// integer is a whole number from low to high.
func integer(field *int, low, high int) value {
	parse := func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	}
	return number[int]{scalar[int]{field, parse, strconv.Itoa, between(low, high, strconv.Itoa)}}
}

// fraction is a number from 0 to 1.
func fraction(field *float64) value {
	parse := func(text string) (float64, error) {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", text)
		}
		return f, nil
	}
	format := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	allow := func(f float64) error {
		if !(f >= 0 && f <= 1) {
			return fmt.Errorf("%s is out of range: from 0 to 1", format(f))
		}
		return nil
	}
	return number[float64]{scalar[float64]{field, parse, format, allow}}
}

// number marks the values that YAML writes as numbers.
type number[T any] struct{ scalar[T] }

func (number[T]) isNumber() {}

// size is a number of bytes from low to high.
func size(field *Size, low, high Size) value {
	return scalar[Size]{field, ParseSize, Size.String, between(low, high, Size.String)}
}

// duration is a time from low to high.
func duration(field *time.Duration, low, high time.Duration) value {
	return scalar[time.Duration]{field, ParseDuration, formatDuration, between(low, high, formatDuration)}
}

func between[T int | Size | time.Duration](low, high T, format func(T) string) func(T) error {
	return func(v T) error {
		if v < low || v > high {
			return fmt.Errorf("%s is out of range: from %s to %s", format(v), format(low), format(high))
		}
		return nil
	}
}

// choice is one of a few words, each standing for a T.
func choice[T comparable](field *T, words []string, meanings []T) value {
	wrong := func(text string) error {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(words, ", "))
	}
	parse := func(text string) (T, error) {
		if i := slices.Index(words, text); i >= 0 {
			return meanings[i], nil
		}
		var zero T
		return zero, wrong(text)
	}
	format := func(v T) string {
		if i := slices.Index(meanings, v); i >= 0 {
			return words[i]
		}
		return fmt.Sprint(v)
	}
	allow := func(v T) error {
		if !slices.Contains(meanings, v) {
			return wrong(fmt.Sprint(v))
		}
		return nil
	}
	return scalar[T]{field, parse, format, allow}
}

// text is any string that allow lets pass.
func text(field *string, allow func(string) error) value {
	same := func(s string) string { return s }
	return scalar[string]{field, func(s string) (string, error) { return s, nil }, same, allow}
}

func anything(string) error { return nil }

func notEmpty(s string) error {
	if s == "" {
		return fmt.Errorf("must not be empty")
	}
	return nil
}

// hostPort allows addresses to listen on.
func hostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address: write host:port, such as 127.0.0.1:1883", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not an address: the port must be a number from 0 to 65535", s)
	}
	return nil
}

// connection allows PostgreSQL connection strings. What it is given may hold a
// password, so no error repeats it (those of net/url would).
func connection(s string) error {
	switch {
	case s == "":
		return nil
	case strings.HasPrefix(s, "postgres://"), strings.HasPrefix(s, "postgresql://"):
		if _, err := url.Parse(s); err != nil {
			return fmt.Errorf("is not a valid URL: check the port, and percent-encode special characters in the password")
		}
		return nil
	case strings.Contains(s, "=") && !strings.Contains(s, "://"):
		return nil
	}
	return fmt.Errorf("is not a PostgreSQL connection: write postgres://user:password@host:5432/database")
}

// repository allows the address of a repository of programs. It may hold a
// password too.
func repository(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("is not the URL of a repository: write https://host/path")
	}
	return nil
}

// origin allows web origins as a browser sends them. [RFC 6454 §6.2]
func origin(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || s != strings.ToLower(u.Scheme+"://"+u.Host) {
		return fmt.Errorf("%q is not an origin: write scheme and host in lower case, without a path, such as https://chat.example.org", s)
	}
	return nil
}

// collector allows addresses of a trace collector.
func collector(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return fmt.Errorf("is not the URL of a collector: write http://host:4318/v1/traces, and credentials into trace.header")
	}
	return nil
}

// header allows one HTTP header. It may hold a secret, so no error repeats it.
func header(s string) error {
	name, content, found := strings.Cut(s, ":")
	if s == "" {
		return nil
	}
	if !found || name == "" || strings.ContainsAny(name, " \t\"(),/;<=>?@[]{}") || strings.TrimSpace(content) == "" || strings.ContainsAny(s, "\r\n") {
		return fmt.Errorf("is not a header: write Name: value, such as Authorization: Bearer …")
	}
	return nil
}

// list is any number of strings; as one text they stand between commas.
type list struct {
	field *[]string
	allow func(string) error
}

func (l list) set(text string) error {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return l.setAll(items)
}

func (l list) setAll(items []string) error {
	next := list{&items, l.allow}
	if err := next.check(); err != nil {
		return err
	}
	*l.field = items
	return nil
}

func (l list) check() error {
	for _, item := range *l.field {
		if err := l.allow(item); err != nil {
			return err
		}
	}
	return nil
}

func (l list) String() string { return strings.Join(*l.field, ",") }
