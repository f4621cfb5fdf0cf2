package postbox_test

import (
	"strings"
	"testing"

	"postbox"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "0", "alice", "a.b_c@d-e", "0-", strings.Repeat("a", postbox.MaxNameLength)} {
		if u, err := postbox.ParseUser(s); err != nil || string(u) != s {
			t.Errorf("user %q: %q, %v", s, u, err)
		}
		if r, err := postbox.ParseRoom(s); err != nil || string(r) != s {
			t.Errorf("room %q: %q, %v", s, r, err)
		}
	}
	bad := []string{
		"", ".a", "_a", "@a", "-a", "A", "aB", "a b", "a/b", "a+", "#", "é", "a\x00", "a\n", "ａ", "a\xff",
		strings.Repeat("a", postbox.MaxNameLength+1),
	}
	refuses(t, postbox.ErrInvalid, bad, func(s string) error { _, err := postbox.ParseUser(s); return err })
	refuses(t, postbox.ErrInvalid, bad, func(s string) error { _, err := postbox.ParseRoom(s); return err })
}

func TestCheckDevice(t *testing.T) {
	t.Parallel()
	accepts(t, postbox.CheckDevice, "d", "my phone", "a/b+#", "电话", strings.Repeat("d", postbox.MaxDeviceLength))
	refuses(t, postbox.ErrInvalid, []string{
		"", "a\x00", "a\x1f", "a\x7f", "a\u0085", "a\n", "\xff", strings.Repeat("d", postbox.MaxDeviceLength+1),
		strings.Repeat("é", postbox.MaxDeviceLength/2+1),
	}, postbox.CheckDevice)
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	accepts(t, postbox.CheckKey, "k", "!", "~", "a:b;c=\"d\"", strings.Repeat("k", postbox.MaxKeyLength))
	refuses(t, postbox.ErrInvalid, []string{
		"", " ", "a b", "a/b", "a+", "a#", "é", "a\x00", "a\x7f", "a\t", "\xff", strings.Repeat("k", postbox.MaxKeyLength+1),
	}, postbox.CheckKey)
}

func TestCheckContentType(t *testing.T) {
	t.Parallel()
	accepts(t, postbox.CheckContentType, "", "text/plain; charset=utf-8", "é", strings.Repeat("a", postbox.MaxContentType))
	refuses(t, postbox.ErrInvalid, []string{
		"a\x00", "a\r\nb", "a\x7f", "a\u0080", "\xff", strings.Repeat("a", postbox.MaxContentType+1),
	}, postbox.CheckContentType)
}

// What a stranger wrote is shown, but not at length.
func TestRefusalQuotesLittle(t *testing.T) {
	t.Parallel()
	_, err := postbox.ParseMessageID(strings.Repeat("\x01", 10_000))
	if err == nil || len(err.Error()) > 500 || strings.Contains(err.Error(), "\x01") {
		t.Errorf("%v", err)
	}
}

func accepts(t *testing.T, check func(string) error, inputs ...string) {
	t.Helper()
	for _, s := range inputs {
		if err := check(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}
