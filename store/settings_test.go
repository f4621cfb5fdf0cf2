package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"postbox"
)

func TestWithSettings(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"jit": "off", "connect_timeout": "5"}
	for dsn, want := range map[string]map[string]string{
		"postgres://u:p%40x@h:5432/d?sslmode=disable": {"sslmode": "disable", "jit": "off", "connect_timeout": "5"},
		"postgresql://h/d?connect_timeout=9":          {"jit": "off", "connect_timeout": "9"},
		"postgres:///d?host=/run/x":                   {"host": "/run/x", "jit": "off", "connect_timeout": "5"},
	} {
		got, err := withSettings(dsn, settings)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		before, _ := url.Parse(dsn)
		after, err := url.Parse(got)
		if err != nil || after.User.String() != before.User.String() || after.Host != before.Host || after.Path != before.Path {
			t.Errorf("%s became %s, %v", dsn, got, err)
		}
		for key, value := range want {
			if all := after.Query()[key]; len(all) != 1 || all[0] != value {
				t.Errorf("%s: %s is %q, want %q", dsn, key, all, value)
			}
		}
	}
	got, err := withSettings("host=h connect_timeout=9", settings)
	if err != nil || !strings.HasPrefix(got, "host=h connect_timeout=9") || !strings.Contains(got, " jit='off'") || strings.Contains(got, "connect_timeout='5'") {
		t.Errorf("%s, %v", got, err)
	}
}

// A connection string holds a password: no error shows it.
func TestOpenShowsNoPassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://u:s3cret@h:port/d", "postgres://u:s3cret%zz@h/d", "postgres://u:s3cret@h/d?sslmode=never",
		"host=h password=s3cret port=x", "host=h password='s3cret", "password=s3cret\x00 host=h sslmode=never",
	} {
		s, err := Open(Options{URL: dsn})
		if err == nil {
			_ = s.Close()
			continue // lib/pq finds its fault when it connects
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
}

// What may succeed later is told from what never will.
func TestIsAway(t *testing.T) {
	t.Parallel()
	code := func(c, severity string) error { return &pq.Error{Code: pqerror.Code(c), Severity: severity} }
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, driver.ErrBadConn, os.ErrDeadlineExceeded, context.DeadlineExceeded, errStandby,
		syscall.ECONNREFUSED, syscall.ECONNRESET, &net.OpError{Op: "read", Err: syscall.EPIPE}, &net.DNSError{Err: "no such host"},
		code("57P01", "FATAL"), code("57P03", "FATAL"), code("57014", "ERROR"), code("53100", "ERROR"), code("53300", "FATAL"), code("58030", "ERROR"),
		code("08006", "ERROR"), code("40P01", "ERROR"), code("40001", "ERROR"), code("25006", "ERROR"), code("55P03", "ERROR"),
		code("3D000", "FATAL"), code("28P01", "FATAL"), code("XX000", "PANIC"), code("XX000", "ERROR"), code("XX001", "ERROR"),
		code("42P01", "ERROR"), code("42501", "ERROR"), code("42883", "ERROR"), code("3F000", "ERROR"), code("0A000", "ERROR"), code("26000", "ERROR"),
	} {
		if got := away("x", fmt.Errorf("y: %w", err)); !errors.Is(got, postbox.ErrUnavailable) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	for _, err := range []error{
		errors.New("x"), context.Canceled, code("23505", "ERROR"), code("22021", "ERROR"), code("54000", "ERROR"), code("P0001", "ERROR"), code("PB001", "ERROR"),
	} {
		if got := away("x", err); errors.Is(got, postbox.ErrUnavailable) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if away("x", nil) != nil {
		t.Error("no error became one")
	}
}

// A start waits for a database that may come, not for one that does not let it
// in.
func TestPasses(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"57P03": true, "53300": true, "57P01": true, "25006": true,
		"28P01": false, "28000": false, "3D000": false, "42501": false, "0A000": false,
	} {
		if got := Passes(fmt.Errorf("x: %w", &pq.Error{Code: pqerror.Code(code), Severity: "FATAL"})); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
	if !Passes(away("x", syscall.ECONNREFUSED)) || !Passes(away("x", errStandby)) || Passes(ErrOwned) {
		t.Error("an error of another kind")
	}
}

// Nobody waits for an answer that the database would have given up itself.
func TestPatienceOf(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]time.Duration{
		"postgres://h/d?statement_timeout=4000":  6 * time.Second,
		"host=h statement_timeout='10000'":       15 * time.Second,
		"postgres://h/d":                         silence,
		"postgres://h/d?statement_timeout=0":     silence,
		"postgres://h/d?statement_timeout=10min": silence,
	} {
		if got := patienceOf(dsn); got != want {
			t.Errorf("%s: %v, want %v", dsn, got, want)
		}
	}
}
