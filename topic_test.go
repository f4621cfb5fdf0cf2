package postbox_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

func TestParseTopic(t *testing.T) {
	t.Parallel()
	long := "inbox/bob/" + strings.Repeat("k", postbox.MaxKeyLength)
	for topic, want := range map[string]postbox.Topic{
		"inbox/bob":                {Kind: postbox.KindInbox, User: "bob"},
		"inbox/b.o_b@x-1":          {Kind: postbox.KindInbox, User: "b.o_b@x-1"},
		"inbox/bob/k-7":            {Kind: postbox.KindInbox, User: "bob", Key: "k-7"},
		"inbox/bob/since":          {Kind: postbox.KindInbox, User: "bob", Key: "since"},
		"inbox/bob/~!$%&'()*,:;=?": {Kind: postbox.KindInbox, User: "bob", Key: "~!$%&'()*,:;=?"},
		long:                       {Kind: postbox.KindInbox, User: "bob", Key: long[len("inbox/bob/"):]},
		"room/dev":                 {Kind: postbox.KindRoom, Room: "dev"},
		"room/dev/k-7":             {Kind: postbox.KindRoom, Room: "dev", Key: "k-7"},
		"signal/bob":               {Kind: postbox.KindSignal, User: "bob"},
		"signal/room":              {Kind: postbox.KindSignal, User: "room"},
		"signal/room/dev":          {Kind: postbox.KindSignal, Room: "dev"},
		"api/v1/room.create":       {Kind: postbox.KindAPI, Operation: "room.create"},
	} {
		got, err := postbox.ParseTopic(topic)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", topic, err, diff)
		}
	}
}

func TestParseTopicRefuses(t *testing.T) {
	t.Parallel()
	invalid := []string{
		"", "/", "inbox", "inbox/", "inbox//k", "/inbox/bob", "Inbox/bob", "inbox/Bob", "inbox/-bob", "inbox/b b",
		"inbox/bob/", "inbox/bob/a/b", "inbox/bob/a b", "inbox/bob/a+", "inbox/bob/#", "inbox/bob/\x7f", "inbox/bob/é",
		"inbox/+", "inbox/#", "inbox/" + strings.Repeat("a", postbox.MaxNameLength+1),
		"inbox/bob/" + strings.Repeat("k", postbox.MaxKeyLength+1),
		"room", "room/", "room/Dev", "room/dev/", "room/dev/a/b", "signal", "signal/", "signal/bob/x", "signal/room/", "signal/room/a/b",
		"api", "api/v1", "api/v1/", "api/v1/a/b", "api/v2/send", "$share/g/inbox/bob", "other", "inboxes/bob",
		"inbox/bob\x00", "inbox/\xff", strings.Repeat("a", postbox.MaxFilterLength+1), "a/b/c/d/e/f/g/h/i",
	}
	forbidden := []string{"presence/bob", "reply/bob/x", "$SYS/broker/uptime", "$SYS", "inbox/bob/since/k3f9:4"}
	refuses(t, postbox.ErrInvalid, invalid, func(s string) error { _, err := postbox.ParseTopic(s); return err })
	refuses(t, postbox.ErrForbidden, forbidden, func(s string) error { _, err := postbox.ParseTopic(s); return err })
}

func TestParseFilter(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]postbox.Filter{
		"inbox/alice":               {Kind: postbox.KindInbox, User: "alice"},
		"inbox/alice/since/42":      {Kind: postbox.KindInbox, User: "alice", Control: true, Since: postbox.Position{Seq: 42}},
		"inbox/alice/since/k3f9:42": {Kind: postbox.KindInbox, User: "alice", Control: true, Since: postbox.Position{Epoch: "k3f9", Seq: 42}},
		"inbox/alice/since/k3f9:0":  {Kind: postbox.KindInbox, User: "alice", Control: true, Since: postbox.Position{Epoch: "k3f9"}},
		"signal/alice":              {Kind: postbox.KindSignal, User: "alice"},
		"presence/bob":              {Kind: postbox.KindPresence, User: "bob"},
		"presence/+":                {Kind: postbox.KindPresence},
		"reply/alice/phone":         {Kind: postbox.KindReply, User: "alice"},
		"reply/alice/#":             {Kind: postbox.KindReply, User: "alice"},
		"reply/alice/+/x":           {Kind: postbox.KindReply, User: "alice"},
	} {
		got, err := postbox.ParseFilter(filter, "alice")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", filter, err, diff)
		}
	}
}

func TestParseFilterRefuses(t *testing.T) {
	t.Parallel()
	forbidden := []string{
		"inbox/bob", "inbox/+", "inbox/#", "#", "+", "+/+", "+/alice", "inbox", "inbox/", "inbox/alice/", "inbox/alice/#",
		"inbox/alice/k", "inbox/alice/+", "inbox/alicee", "inbox/bob/since/1", "inbox/Alice", "/inbox/alice",
		"signal/bob", "signal/+", "signal/#", "signal/room/dev", "signal/alice/#", "room/dev", "room/+", "room/#",
		"presence", "presence/", "presence/#", "presence/Bob", "presence/bob/+", "presence/+/+",
		"reply/alice", "reply/alice/", "reply/bob/x", "reply/+/x", "reply/#", "api/v1/send", "api/#",
		"$SYS/#", "$SYS/broker/uptime", "$share/g/inbox/alice", "$share/g/presence/+", "$queue/inbox/alice",
	}
	invalid := []string{
		"", "inbox/alice/since/", "inbox/alice/since/x", "inbox/alice/since/-1", "inbox/alice/since/:4", "inbox/alice/since/k3f9:",
		"inbox/alice/since/k3f9:4/5", strings.Repeat("a", postbox.MaxFilterLength+1), "reply/alice/c/d/e/f/g/h/i", "reply/alice/\x00", "reply/alice/\xff",
	}
	of := func(s string) error { _, err := postbox.ParseFilter(s, "alice"); return err }
	refuses(t, postbox.ErrForbidden, forbidden, of)
	refuses(t, postbox.ErrInvalid, invalid, of)
}

// The depth that Mochi's index is asked to hold is bounded: see checkDepth.
func TestTopicDepth(t *testing.T) {
	t.Parallel()
	deepest := "reply/alice" + strings.Repeat("/x", postbox.MaxFilterLevels-2)
	if _, err := postbox.ParseFilter(deepest, "alice"); err != nil {
		t.Errorf("%d levels: %v", postbox.MaxFilterLevels, err)
	}
	if _, err := postbox.ParseFilter(deepest+"/x", "alice"); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("%d levels: %v", postbox.MaxFilterLevels+1, err)
	}
}

func refuses(t *testing.T, want error, inputs []string, parse func(string) error) {
	t.Helper()
	for _, s := range inputs {
		if err := parse(s); !errors.Is(err, want) {
			t.Errorf("%.100q: got %v, want %v", s, err, want)
		}
	}
}

// What a client may publish to is one of the forms of the contract, and the
// parts are those of the topic.
func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"inbox/bob", "inbox/bob/k-7", "room/dev/k", "signal/bob", "signal/room/dev", "api/v1/send", "$SYS/x", "inbox/bob/since/1", "inbox/+", "a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := postbox.ParseTopic(s)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if again := render(got); again != s {
			t.Errorf("%q became %+v, which is %q", s, got, again)
		}
		if got.Kind != postbox.KindAPI && strings.ContainsAny(s, "+#\x00 ") {
			t.Errorf("%q is allowed", s)
		}
	})
}

func render(p postbox.Topic) string {
	keyed := func(s string) string {
		if p.Key != "" {
			return s + "/" + p.Key
		}
		return s
	}
	switch p.Kind {
	case postbox.KindInbox:
		return keyed("inbox/" + string(p.User))
	case postbox.KindRoom:
		return keyed("room/" + string(p.Room))
	case postbox.KindSignal:
		if p.Room != "" {
			return "signal/room/" + string(p.Room)
		}
		return "signal/" + string(p.User)
	case postbox.KindAPI:
		return "api/v1/" + p.Operation
	}
	return "no topic of a publisher"
}

// A filter that alice gets matches nothing that is another's.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"inbox/alice", "inbox/alice/since/k:1", "signal/alice", "presence/+", "reply/alice/#", "#", "+/+", "$share/g/inbox/alice", "inbox/+", "reply/+/x"} {
		f.Add(s)
	}
	others := []string{
		"inbox/bob", "inbox/bob/k", "inbox/alice/k", "signal/bob", "signal/room/dev", "room/dev", "room/dev/k",
		"reply/bob/x", "reply/bob", "api/v1/send", "$SYS/broker/uptime", "inbox/alicee", "presence", "presence/bob/x",
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := postbox.ParseFilter(s, "alice")
		if err != nil {
			checkRefusal(t, err)
			return
		}
		for _, topic := range others {
			if !got.Control && matches(s, topic) {
				t.Errorf("%q matches %s", s, topic)
			}
		}
		if got.Kind != postbox.KindPresence && got.User != "alice" {
			t.Errorf("%q is of %q", s, got.User)
		}
		levels := strings.Split(s, "/")
		for i, level := range levels {
			if strings.ContainsAny(level, "+#") && (len(level) > 1 || level == "#" && i < len(levels)-1) {
				t.Errorf("%q is granted, which is malformed", s)
			}
		}
	})
}

// matches is MQTT's rule for filters [MQTT-4.7.1].
func matches(filter, topic string) bool {
	have, want := strings.Split(topic, "/"), strings.Split(filter, "/")
	if strings.HasPrefix(topic, "$") && want[0] != have[0] {
		return false
	}
	for i, level := range want {
		if level == "#" {
			return i == len(want)-1
		}
		if i >= len(have) || level != "+" && level != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

// checkRefusal: a stranger's input is refused with a code and a short sentence.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var e *postbox.Error
	if !errors.As(err, &e) || e.Code != postbox.CodeInvalid && e.Code != postbox.CodeForbidden {
		t.Errorf("refused with %#v", err)
		return
	}
	if len(e.Message) == 0 || len(e.Message) > 700 {
		t.Errorf("a sentence of %d bytes", len(e.Message))
	}
}
