package postbox

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// User is a user's name: [a-z0-9][a-z0-9._@-]{0,63}.
type User string

// Room is a room's name, of the same form as a user's.
type Room string

// ParseUser checks a user's name. The error is ErrInvalid and says what is
// wrong with it.
func ParseUser(s string) (User, error) {
	if err := checkName("user", s); err != nil {
		return "", err
	}
	return User(s), nil
}

// ParseRoom checks a room's name. The error is ErrInvalid and says what is
// wrong with it.
func ParseRoom(s string) (Room, error) {
	if err := checkName("room", s); err != nil {
		return "", err
	}
	return Room(s), nil
}

func checkName(kind, s string) error {
	switch {
	case s == "":
		return Errorf(CodeInvalid, "the %s name is empty", kind)
	case len(s) > MaxNameLength:
		return Errorf(CodeInvalid, "the %s name has %d bytes; at most %d are allowed", kind, len(s), MaxNameLength)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' ||
			i > 0 && (c == '.' || c == '_' || c == '@' || c == '-')
		if !ok {
			return Errorf(CodeInvalid, "the %s name %s is not allowed: use a-z, 0-9 and, after the first character, . _ @ -", kind, quote(s))
		}
	}
	return nil
}

// CheckDevice checks a device's name, the MQTT client id: 1 to 128 bytes of
// UTF-8 without control characters.
func CheckDevice(s string) error {
	if s == "" || len(s) > MaxDeviceLength {
		return Errorf(CodeInvalid, "the client id has %d bytes; 1 to %d are allowed", len(s), MaxDeviceLength)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, isControl) {
		return Errorf(CodeInvalid, "the client id must be UTF-8 without control characters")
	}
	return nil
}

// CheckKey checks an idempotency key: 1 to 128 printable ASCII characters
// without space, '/', '+' and '#'.
func CheckKey(s string) error {
	if s == "" || len(s) > MaxKeyLength {
		return Errorf(CodeInvalid, "the idempotency key has %d bytes; 1 to %d are allowed", len(s), MaxKeyLength)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == '/' || c == '+' || c == '#' {
			return Errorf(CodeInvalid, "the idempotency key may hold printable ASCII characters only, without space, '/', '+' and '#'")
		}
	}
	return nil
}

// CheckContentType checks a content type: at most 255 bytes of UTF-8 without
// control characters. Empty means none given.
func CheckContentType(s string) error {
	if len(s) > MaxContentType || !utf8.ValidString(s) || strings.ContainsFunc(s, isControl) {
		return Errorf(CodeInvalid, "the content type must be UTF-8 of at most %d bytes without control characters", MaxContentType)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// quote shows at most the first 80 bytes of a stranger's string.
func quote(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q…", s[:80])
	}
	return fmt.Sprintf("%q", s)
}
