package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// What strangers write is shown, not obeyed.
func TestPrintable(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"hello":                    "hello",
		"\x1b[2J\x07\x7f":          `\x1b[2J\x07\x7f`,
		"\u009b31m":                `\x9b31m`,
		"one\ntwo\tthree\r":        `one two three `,
		"ab\u202ecd\u2066":         `ab\u202ecd\u2066`,
		"会议 👩‍💻 שלום":              "会议 👩‍💻 שלום",
		"line\u2028end\u2029\x00.": `line\u2028end\u2029\x00.`,
	} {
		if got := printable(given, false); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
	for r := range rune(0x3000) {
		shown := printable("a"+string(r)+"b", false)
		if strings.IndexFunc(shown, obeyed) >= 0 || !obeyed(r) && shown != "a"+string(r)+"b" {
			t.Errorf("%U becomes %q", r, shown)
		}
	}
	if got := printable("one\ntwo\tthree\r\x1b", true); got != "one\ntwo\tthree \\x1b" {
		t.Errorf("with its lines: %q", got)
	}
}

// On a terminal a JSON line has nothing to obey either, and means the same; to a
// file it goes as the API has it.
func TestJSONLines(t *testing.T) {
	t.Parallel()
	value := "{\"body\":\"\u009b31m\x7f会\u202e\\u001b\",\"ref\":{\n \"a\":1}}"
	var plain, shown bytes.Buffer
	if err := writeJSONLine(&plain, []byte(value), false); err != nil {
		t.Fatal(err)
	}
	if err := writeJSONLine(&shown, []byte(value), true); err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(value, "\n", " ") + "\n"; plain.String() != want {
		t.Errorf("to a file %q, want %q", plain.String(), want)
	}
	if want := `{"body":"\u009b31m\u007f会\u202e\u001b","ref":{  "a":1}}` + "\n"; shown.String() != want {
		t.Errorf("on a terminal %q, want %q", shown.String(), want)
	}
	var a, b any
	if err := json.Unmarshal(plain.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(shown.Bytes(), &b); err != nil || !cmp.Equal(a, b) {
		t.Errorf("the values differ: %v, %v, %v", a, b, err)
	}
}

// Columns hold for characters of two cells, and only a terminal gets colours and
// lines that are cut.
func TestColumns(t *testing.T) {
	t.Parallel()
	table := columns{heads: []string{"TITLE", "N", "TEXT"}}
	table.add("会议室", "1", "会议在三点开始请准时")
	table.add("会", "2", "short")
	table.add("dev", "20", "plain")
	var out bytes.Buffer
	if err := table.write(&screen{w: &out}); err != nil {
		t.Fatal(err)
	}
	want := "TITLE   N   TEXT\n会议室  1   会议在三点开始请准时\n会      2   short\ndev     20  plain\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	out.Reset()
	if err := table.write(&screen{w: &out, terminal: true, colours: true, width: 22}); err != nil {
		t.Fatal(err)
	}
	want = "\x1b[1mTITLE \x1b[0m  \x1b[1mN \x1b[0m  \x1b[1mTEXT\x1b[0m\n\x1b[36m会议室\x1b[0m  1   会议在…\n\x1b[36m会    \x1b[0m  2   short\n\x1b[36mdev   \x1b[0m  20  plain\n"
	if diff := cmp.Diff(want, strings.ReplaceAll(out.String(), "会议在三…", "会议在…")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Each kind of entry in words.
func TestEntriesInWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"type":"message","from":"alice","to":"bob","seq":17,"body":"hello\u001b[0m"}`:                        `alice > bob  hello\x1b[0m`,
		`{"type":"edit","from":"alice","to":"bob","seq":17,"body":"hello!"}`:                                   `alice > bob  changed #17: hello!`,
		`{"type":"retract","from":"alice","room":"dev","seq":17}`:                                              `alice > #dev  retracted #17`,
		`{"type":"read","from":"alice","to":"bob","seq":17}`:                                                   `alice > bob  has read up to #17`,
		`{"type":"room","room":"dev","from":"alice","event":"added","user":"carol","role":"member"}`:           `alice > #dev  added carol as member`,
		`{"type":"room","room":"dev","from":"alice","event":"updated","title":"\u009b1m"}`:                     `alice > #dev  updated (\x9b1m)`,
		`{"type":"gap","epoch":"k3f9","code":"expired","after":46,"next":500}`:                                 `entries 47 to 499 are not to be had any more (expired)`,
		`{"type":"signal","from":"alice","to":"bob","body":"typing"}`:                                          `alice > bob  signals: typing`,
		`{"type":"delivered","from":"bob","to":"alice","seq":17}`:                                              `bob > alice  has got up to #17`,
		`{"type":"message","from":"alice","to":"bob","seq":1,"retracted":true}`:                                `alice > bob  (retracted)`,
		`{"type":"message","from":"alice","to":"bob","seq":1,"content_type":"image/png","body_base64":"AAEC"}`: `alice > bob  (3 bytes of image/png)`,
		`{"from":"alice","to":"bob","seq":1,"too_large":70000}`:                                                `alice > bob  (70000 bytes, too large to be shown here)`,
		`{"from":"alice","to":"bob","seq":1,"body":"new","edited_at":"2026-11-26T04:00:00.000Z"}`:              `alice > bob  new (edited)`,
	} {
		e, err := parseEntry([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		l := listing{s: &screen{}}
		if got := strings.TrimLeft(l.line(e), " "); got != want+"\n" {
			t.Errorf("%s\n got %q\nwant %q", text, got, want+"\n")
		}
	}
}

// Events, however the network cuts them up; of one that has not come whole nothing
// is seen.
func TestEvents(t *testing.T) {
	t.Parallel()
	const stream = ":\n\nid: e:1\n\nid: e:2\ndata: {\"a\":1}\n\n:\n\nevent: signal\ndata: {}\r\n\r\nid: e:3\ndata: lost\nda"
	e := newEvents(iotest.OneByteReader(strings.NewReader(stream)), func() {})
	var got []string
	for {
		one, err := e.next()
		if err != nil {
			got = append(got, err.Error())
			break
		}
		got = append(got, one.id+" "+string(one.data))
	}
	if diff := cmp.Diff([]string{"e:1 ", `e:2 {"a":1}`, "e:2 {}", "EOF"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// The completion of a real shell, with names from the server.
func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.person("alice")
	alice.ok("", "send", "bob", "hello")
	alice.ok("", "rooms", "create", "dev")
	script := alice.ok("", "completion", "bash")
	for line, want := range map[string]string{
		"sea":                         "search",
		"send b":                      "bob",
		"send --room ":                "dev",
		"history --with ":             "bob",
		"rooms role dev bob ":         "admin member owner reader",
		"rooms add dev bob --role ow": "owner",
		"rooms --pub":                 "--public",
		"__com":                       "",
	} {
		words := strings.Split("postbox "+line, " ")
		bash := alice.process()
		var typed strings.Builder
		for _, word := range words {
			typed.WriteString(" '" + word + "'")
		}
		path, err := exec.LookPath("bash")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), path, "-c", script+"\nCOMP_WORDS=("+typed.String()+"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _postbox; printf '%s\\n' \"${COMPREPLY[@]}\" | sort | xargs")
		cmd.Env = bash.Env
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q is completed by %q (%v), want %q", line, got, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if got := alice.ok("", "completion", shell); !strings.Contains(got, "__complete -- ") {
			t.Errorf("%s: %s", shell, got)
		}
	}
}
