package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/lib/pq"
)

// advise adds what to do to an error of the database or of listening that names
// what is wrong and leaves its reader alone with it. What was said in several
// lines becomes one.
func advise(err error) error {
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "\n") {
		err = oneLine{err}
	}
	if advice := adviceFor(err); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

// oneLine is an error without line breaks.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

func adviceFor(err error) string {
	var (
		answer *pq.Error
		lookup *net.DNSError
		dial   *net.OpError
	)
	switch isDial := errors.As(err, &dial) && dial.Op == "dial"; {
	case errors.As(err, &answer):
		switch answer.Code {
		case "28P01", "28000": // invalid_password, invalid_authorization_specification
			return "check user and password in database.url, and pg_hba.conf of the server"
		case "3D000": // invalid_catalog_name
			return "create the database, or check its name in database.url"
		case "42501": // insufficient_privilege
			return "let the role of database.url create the schema postbox, or make it the schema's owner"
		}
	case errors.As(err, &lookup):
		return "check the host name in database.url"
	case isDial && errors.Is(err, syscall.ECONNREFUSED):
		return "start PostgreSQL, or check host and port in database.url"
	case isDial:
		return "check host and port in database.url, and the network between"
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop the program that listens there, or choose another address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "it is none of this machine's addresses: choose another"
	case errors.Is(err, syscall.EACCES) && errors.As(err, &dial) && dial.Op == "listen":
		return "ports below 1024 need the right to bind them: choose another, or grant CAP_NET_BIND_SERVICE"
	}
	return ""
}
