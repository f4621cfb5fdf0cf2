package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Two people talk by the command line alone.
func TestPeopleTalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")

	if got := alice.ok("", "send", "bob", "Hello, Bob"); !regexp.MustCompile(`^sent: #1 [0-9a-f-]{36}\n$`).MatchString(got) {
		t.Errorf("send prints %q", got)
	}
	alice.ok("two\nlines\n", "send", "bob")
	alice.ok("\xff\x00\x01", "send", "bob", "-", "--content-type", "image/x-none")
	first := alice.ok("", "send", "bob", "once", "--key", "k-1", "--ref", `{"reply_to":"x"}`, "--expires", "1h", "--json")
	again := alice.ok("", "send", "bob", "once", "--key", "k-1", "--ref", `{"reply_to":"x"}`, "--expires", "1h", "--json")
	if want := strings.Replace(first, `"duplicate":false`, `"duplicate":true`, 1); again != want || first == want {
		t.Errorf("sent again with its key: %s, want %s", again, want)
	}
	if got := alice.ok("", "send", "bob", "once", "--key", "k-1", "--ref", `{"reply_to":"x"}`, "--expires", "1h"); !strings.HasPrefix(got, "was sent before: #4 ") {
		t.Errorf("a repeat prints %q", got)
	}
	bob.ok("", "send", "alice", "Hello, Alice")

	t.Run("history", func(t *testing.T) {
		times := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
		got := times.ReplaceAllString(bob.ok("", "history", "--with", "alice"), "TIME")
		want := `1  TIME  alice  Hello, Bob
2  TIME  alice  two
                               lines
3  TIME  alice  (3 bytes of image/x-none)
4  TIME  alice  once
5  TIME  bob    Hello, Alice
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if got := bob.ok("", "history", "--with", "alice", "--before", "3", "--limit", "1"); !strings.HasPrefix(got, "2 ") || strings.Contains(got, "Hello") {
			t.Errorf("--before 3 --limit 1: %q", got)
		}
		if got := bob.ok("", "history", "--with", "alice", "--around", "3", "--limit", "1"); !strings.HasPrefix(got, "3 ") {
			t.Errorf("--around 3 --limit 1: %q", got)
		}
		var messages []entry
		for line := range strings.Lines(bob.ok("", "history", "--with", "alice", "--after", "2", "--json")) {
			e, err := parseEntry([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, e)
		}
		if len(messages) != 3 || messages[0].Base64 == nil || *messages[1].Body != "once" || messages[2].From != "bob" {
			t.Errorf("--after 2 --json: %+v", messages)
		}
	})
	t.Run("search", func(t *testing.T) {
		if got := waitFor(t, func() string { return alice.ok("", "search", "hello", "--from", "bob") }); !strings.HasSuffix(got, "bob > alice  Hello, Alice\n") {
			t.Errorf("search prints %q", got)
		}
	})
	t.Run("conversations", func(t *testing.T) {
		got := bob.ok("", "conversations")
		if !regexp.MustCompile(`^WITH +UNREAD +LAST +FROM +TEXT\nalice +\S+ \S+ +bob +Hello, Alice\n$`).MatchString(got) {
			t.Errorf("conversations print %q", got)
		}
		var one struct{ With string }
		if err := json.Unmarshal([]byte(bob.ok("", "conversations", "--json")), &one); err != nil || one.With != "alice" {
			t.Errorf("as JSON: %+v, %v", one, err)
		}
	})
	t.Run("wrong", func(t *testing.T) {
		alice.fails(exitFailed, "not_found: ", "send", "nobody", "x")
		alice.fails(exitFailed, "conflict: ", "send", "bob", "another body", "--key", "k-1")
		alice.fails(exitFailed, "standard input is empty", "send", "bob")
		alice.fails(exitFailed, "invalid: ", "history", "--with", "bob", "--limit", "501")
		alice.fails(exitUsage, "no recipient", "send")
		alice.fails(exitUsage, "not both", "send", "bob", "hello", "--room", "dev")
		alice.fails(exitUsage, "--ref", "send", "bob", "x", "--ref", "[1]")
		alice.fails(exitUsage, "--expires", "send", "bob", "x", "--expires", "5ms")
		alice.fails(exitUsage, "which conversation", "history")
		alice.fails(exitUsage, "--around", "history", "--with", "bob", "--all", "--around", "3")
		alice.fails(exitUsage, "--since", "tail", "--since", "yesterday")
	})
}

// All pages of a conversation, in order, each message once.
func TestAllOfAConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.person("alice")
	const n = maxPage + 3
	server, err := serverFlags{}.open(alice.globals("", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	for i := range n {
		request := map[string]any{"to": "alice", "body": fmt.Sprintf("note %d", i+1)}
		if _, err := server.do(t.Context(), call{name: "send", request: request}, nil); err != nil {
			t.Fatal(err)
		}
	}
	check := func(args ...string) {
		t.Helper()
		at := n + 1 - strings.Count(alice.ok("", args...), "\n")
		for line := range strings.Lines(alice.ok("", args...)) {
			if e, err := parseEntry([]byte(line)); err != nil || e.Seq != int64(at) || *e.Body != fmt.Sprintf("note %d", at) {
				t.Fatalf("%v: line %d is %s (%v)", args, at, line, err)
			}
			at++
		}
		if at != n+1 {
			t.Errorf("%v ends before %d, want %d", args, at, n+1)
		}
	}
	check("history", "--with", "alice", "--all", "--json")
	check("history", "--with", "alice", "--all", "--after", "7", "--json")
	if got := strings.Count(alice.ok("", "history", "--with", "alice", "--all", "--json"), "\n"); got != n {
		t.Errorf("--all prints %d, want %d", got, n)
	}
	waitFor(t, func() string { return alice.ok("", "search", "note "+fmt.Sprint(n)) })
	if got := strings.Count(alice.ok("", "search", "note", "--all"), "\n"); got != n {
		t.Errorf("search --all prints %d, want %d", got, n)
	}
}

// A room from its first day to its last.
func TestRoomsByCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	has := func(got string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !regexp.MustCompile(text).MatchString(got) {
				t.Errorf("no %q in\n%s", text, got)
			}
		}
	}
	has(alice.ok("", "rooms", "create", "dev", "--title", "開発 room"), `dev +owner +1 +private +all +開発 room\n`)
	has(alice.ok("", "rooms", "add", "dev", "bob", "--role", "reader"), `dev +owner +2 `)
	bob.fails(exitFailed, "forbidden: ", "send", "--room", "dev", "may I?")
	has(alice.ok("", "rooms", "role", "dev", "bob", "admin", "--json"), `"member_count":2`)
	has(bob.ok("", "send", "--room", "dev", "I may"), `^sent: #1 `)
	has(bob.ok("", "history", "--room", "dev"), `bob  I may`)
	has(bob.ok("", "rooms"), `(?m)^ROOM +ROLE +MEMBERS +ACCESS +HISTORY +TITLE$`, `(?m)^dev +admin +2 +private +all +開発 room$`)
	has(alice.ok("", "rooms", "get", "dev"), `(?m)^bob +admin +#1$`)
	has(alice.ok("", "rooms", "update", "dev", "--public", "--history", "joined"), `dev +owner +2 +public +joined`)
	carol := w.person("carol")
	has(carol.ok("", "rooms", "--public", "--json"), `^{"room":"dev"`)
	has(carol.ok("", "rooms", "join", "dev"), `dev +member +3 `)
	has(carol.ok("", "rooms", "leave", "dev"), `^dev: done\n$`)
	has(alice.ok("", "rooms", "remove", "dev", "bob"), `dev +owner +1 `)
	bob.fails(exitFailed, "forbidden: ", "send", "--room", "dev", "still?")
	alice.fails(exitUsage, "--yes", "rooms", "delete", "dev")
	has(alice.ok("", "rooms", "delete", "dev", "--yes"), `^dev: done\n$`)
	alice.fails(exitFailed, "not_found: ", "rooms", "get", "dev")
}

// waitFor asks until there is an answer: what is sent is found a little later.
func waitFor(t *testing.T, ask func() string) string {
	t.Helper()
	for range 600 {
		if got := ask(); got != "" {
			return got
		}
		if err := pause(t.Context(), 50*time.Millisecond); err != nil {
			break
		}
	}
	t.Fatal("nothing is found")
	return ""
}
