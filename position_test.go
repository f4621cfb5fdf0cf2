package postbox_test

import (
	"strings"
	"testing"

	"postbox"
)

func TestParsePosition(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]postbox.Position{
		"0":                        {},
		"42":                       {Seq: 42},
		"k3f9:42":                  {Epoch: "k3f9", Seq: 42},
		"k3f9:9223372036854775807": {Epoch: "k3f9", Seq: 1<<63 - 1},
	} {
		got, err := postbox.ParsePosition(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%s is written as %s", s, got)
		}
	}
	refuses(t, postbox.ErrInvalid, []string{
		"", ":", ":4", "k3f9:", "k3f9:x", "k3f9:-1", "-1", "x", "4:k3f9", "k3f9:4:5", "k3f9: 4", "4 ", "0x4", "1e3", "4_0",
		"9223372036854775808", strings.Repeat("9", 1000),
	}, func(s string) error { _, err := postbox.ParsePosition(s); return err })
}

// Only what a server may have written is a position: an epoch that it could
// have made up, and a number as it writes them.
func TestParsePositionTakesOnlyItsOwnForm(t *testing.T) {
	t.Parallel()
	refuses(t, postbox.ErrInvalid, []string{"+5", "k3f9:+5", "+:5", "#:5", "a/b:5", "#/:5", "k 9:5", "k\n:5"},
		func(s string) error { _, err := postbox.ParsePosition(s); return err })
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0", "42", "k3f9:42", "k3f9:-1", ":4", "k3f9:4:5", "007", "+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := postbox.ParsePosition(s)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if p.Seq < 0 {
			t.Errorf("%q: negative", s)
		}
		again, err := postbox.ParsePosition(p.String())
		if err != nil || again != p {
			t.Errorf("%q became %+v, written %q, which is %+v, %v", s, p, p, again, err)
		}
	})
}
