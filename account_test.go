package postbox

import (
	"errors"
	"strings"
	"testing"
)

// Only the length of a new password counts, in characters below and in bytes above.
func TestCheckNewPassword(t *testing.T) {
	t.Parallel()
	for password, ok := range map[string]bool{
		"":                           false,
		"1234567":                    false,
		"12345678":                   true,
		"密码密码密码密":                    false, // 21 bytes, seven characters
		"密码密码密码密码":                   true,
		"        ":                   true,
		strings.Repeat("x", 1024):    true,
		strings.Repeat("x", 1025):    false,
		strings.Repeat("密", 1024):    false,
		"a password\x00 of any kind": true,
	} {
		err := CheckNewPassword(password)
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %v", password, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "8") || !strings.Contains(err.Error(), "1024")) {
			t.Errorf("%v does not say what is allowed", err)
		}
	}
}
