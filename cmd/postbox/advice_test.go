package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/lib/pq"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	listen := func(err error) error { return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", err)} }
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)} }
	for want, err := range map[string]error{
		"pg_hba.conf":              &pq.Error{Code: "28P01", Message: "no"},
		"create the database":      &pq.Error{Code: "3D000"},
		"create the schema":        &pq.Error{Code: "42501"},
		"host name":                &net.OpError{Op: "dial", Err: &net.DNSError{Name: "nowhere"}},
		"start PostgreSQL":         dial(syscall.ECONNREFUSED),
		"the network between":      dial(syscall.ETIMEDOUT),
		"stop the program":         listen(syscall.EADDRINUSE),
		"this machine's addresses": listen(syscall.EADDRNOTAVAIL),
		"CAP_NET_BIND_SERVICE":     listen(syscall.EACCES),
	} {
		got := advise(fmt.Errorf("step: %w", err))
		if !errors.Is(got, err) || !strings.HasPrefix(got.Error(), "step: ") || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: %v, want %q", err, got, want)
		}
	}
	plain := errors.New("plain")
	if got := advise(plain); got != plain {
		t.Errorf("%v became %v", plain, got)
	}
	if got := advise(errors.Join(plain, plain)); got.Error() != "plain plain" || !errors.Is(got, plain) {
		t.Errorf("two lines became %q", got)
	}
	if advise(nil) != nil {
		t.Error("nothing became something")
	}
}
