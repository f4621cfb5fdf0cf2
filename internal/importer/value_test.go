package importer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2021-07-01 12:00:00":              "2021-07-01T10:00:00Z",
		" 2021-01-01 12:00:00.123999 ":     "2021-01-01T11:00:00.123Z",
		"2021-07-01T12:00:00":              "2021-07-01T10:00:00Z",
		"2021-07-01 12:00":                 "2021-07-01T10:00:00Z",
		"2021-07-01":                       "2021-06-30T22:00:00Z",
		"2021-07-01 12:00:00+00":           "2021-07-01T12:00:00Z", // as PostgreSQL writes a timestamptz
		"2021-07-01 12:00:00.5-03:30":      "2021-07-01T15:30:00.5Z",
		"2021-07-01T12:00:00Z":             "2021-07-01T12:00:00Z",
		"2021-07-01T12:00:00.123456+02:00": "2021-07-01T10:00:00.123Z",
		"1625140800":                       "2021-07-01T12:00:00Z",
		"1625140800.25":                    "2021-07-01T12:00:00.25Z",
		"1625140800123":                    "2021-07-01T12:00:00.123Z",
		"1625140800123456":                 "2021-07-01T12:00:00.123Z",
		"0":                                "1970-01-01T00:00:00Z",
		"2026-01-01 23:00:00":              "2026-01-01T22:00:00Z", // a clock that is ahead
	} {
		at, err := parseTime(text, berlin, now)
		if err != nil || at.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v, want %s", text, at, err, want)
		}
	}
	for text, want := range map[string]error{
		"": errNoTime, "0000-00-00 00:00:00": errNoTime, "yesterday": errTime, "2021-13-01 00:00:00": errTime, "1e99": errTime, "NaN": errTime,
		"1969-12-31 12:00:00": errEarly, "-5": errEarly, "2031-01-01 00:00:00": errTomorrow, "99999999999": errTomorrow,
	} {
		if _, err := parseTime(text, berlin, now); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestTruth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"1": true, "0": false, "": false, "\x01": true, "\x00": false, "t": true, "f": false, "Yes": true, "no": false, "N": false,
		"2021-07-01 12:00:00": true, "0000-00-00 00:00:00": false, "unread": false, "read": true, "2": true, "false": false,
	} {
		if got := truth(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{
		"Alice": {"alice", "alice"}, " Bob  Builder ": {"bob_builder", "bob_builder"}, "ＡＢ": {"ab", "ab"},
		"Jürgen": {"jürgen", "jurgen"}, "_x_": {"_x_", "x_"}, "a@b.example": {"a@b.example", "a@b.example"}, "李": {"李", ""}, "O'Neil": {"o'neil", "oneil"},
		strings.Repeat("a", 70): {strings.Repeat("a", 70), strings.Repeat("a", 64)},
	} {
		if got := [2]string{fold(name), suggest(name)}; got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestReadMap(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "map.csv")
	for text, want := range map[string]string{
		"# the people\nJürgen,jurgen\n\"a,b\", ab\n": "",
		"Jürgen,Jurgen\n":                            "map.csv:1: the user name \"Jurgen\" is not allowed",
		"x,x\n\ny\n":                                 "wrong number of fields",
		"x,x\ny,y\nx,z\n":                            "map.csv:3: \"x\" is there twice",
		"\"unfinished,x\n,":                          "a line is \"old name,new name\"",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		names, err := readMap(file)
		switch {
		case want == "" && (err != nil || len(names) != 2 || names["Jürgen"] != "jurgen" || names["a,b"] != "ab"):
			t.Errorf("%q: %v, %v", text, names, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// A foreign key does nothing to a terminal.
func TestShortened(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"17": "17", "\x1b[2J": `"\x1b[2J"`, "\x9b2J": `"\x9b2J"`, strings.Repeat("x", 41): `"` + strings.Repeat("x", 40) + `"…`,
	} {
		if got := shortened(s); got != want {
			t.Errorf("%q is shown as %s, want %s", s, got, want)
		}
	}
	if got := listed([]column{{name: "from uid"}, {name: "\x1b[2J"}}); got != `from uid, "\x1b[2J"` {
		t.Errorf("columns are shown as %s", got)
	}
}
