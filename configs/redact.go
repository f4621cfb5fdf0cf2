package configs

import (
	"net/url"
	"regexp"
	"strings"
)

// redacted stands for a secret.
const redacted = "xxxxx"

// passwordPair is a password in a key=value connection string; the value may
// be quoted, with backslashes before quotes. [PostgreSQL, libpq §34.1.1.1]
var passwordPair = regexp.MustCompile(`(?i)\b(password|sslpassword)(\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)`)

// redact returns a PostgreSQL connection string without its passwords.
func redact(connection string) string {
	if !strings.Contains(connection, "://") {
		return passwordPair.ReplaceAllString(connection, "${1}${2}"+redacted)
	}
	u, err := url.Parse(connection)
	if err != nil {
		return redacted // what cannot be read cannot be shown in part
	}
	if _, set := u.User.Password(); set {
		u.User = url.UserPassword(u.User.Username(), redacted)
	}
	query := u.Query()
	for name := range query {
		if strings.EqualFold(name, "password") || strings.EqualFold(name, "sslpassword") {
			query.Set(name, redacted)
			u.RawQuery = query.Encode()
		}
	}
	return u.String()
}

// redactHeader returns a header without its value.
func redactHeader(header string) string {
	name, _, found := strings.Cut(header, ":")
	if !found {
		return header // empty, else it would not be allowed
	}
	return name + ": " + redacted
}
