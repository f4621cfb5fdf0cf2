package postbox_test

import (
	"encoding/json"
	"testing"
	"time"

	"postbox"
)

// What happened is shown as docs/spec.md §4 writes it, in the message's present
// state.
func TestEventEnvelopes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 15, 4, 5, 123e6, time.UTC)
	of, id := postbox.MessageID{1}, postbox.MessageID{2}
	happened := &postbox.Event{ID: id, From: "alice", To: "bob", Seq: 17, Of: of, At: at, Key: "k"}
	edited := &postbox.Message{ID: of, From: "alice", To: "bob", Seq: 17, SentAt: at, EditedAt: at, Body: []byte("hello!")}
	retracted := &postbox.Message{ID: of, From: "alice", To: "bob", Seq: 17, SentAt: at, RetractedAt: at}
	const between = `"from":"alice","to":"bob","seq":17`
	const about = `"ref":{"id":"01000000-0000-0000-0000-000000000000"},"sent_at":"2026-11-22T15:04:05.123Z"`
	const ours = `"id":"02000000-0000-0000-0000-000000000000",` + between + `,` + about
	for name, c := range map[string]struct {
		entry postbox.Entry
		want  string
	}{
		"edit": {
			postbox.Entry{InboxSeq: 43, Type: postbox.EntryEdit, Event: happened, Message: edited},
			`{"inbox_seq":43,"epoch":"e","type":"edit",` + ours + `,"body":"hello!"}`,
		},
		"own edit": {
			postbox.Entry{InboxSeq: 43, Type: postbox.EntryEdit, Event: happened, Message: edited, Own: true},
			`{"inbox_seq":43,"epoch":"e","type":"edit",` + ours + `,"idempotency_key":"k","body":"hello!"}`,
		},
		"edit of what was retracted since": {
			postbox.Entry{InboxSeq: 43, Type: postbox.EntryEdit, Event: happened, Message: retracted},
			`{"inbox_seq":43,"epoch":"e","type":"edit",` + ours + `,"retracted":true}`,
		},
		"retract": {
			postbox.Entry{InboxSeq: 44, Type: postbox.EntryRetract, Event: happened, Message: retracted},
			`{"inbox_seq":44,"epoch":"e","type":"retract",` + ours + `}`,
		},
		"read in a room": {
			postbox.Entry{InboxSeq: 45, Type: postbox.EntryRead, Event: &postbox.Event{From: "alice", Room: "dev", Seq: 17, At: at}},
			`{"inbox_seq":45,"epoch":"e","type":"read","from":"alice","room":"dev","seq":17,"sent_at":"2026-11-22T15:04:05.123Z"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := postbox.AppendEnvelope(nil, &c.entry, postbox.View{Epoch: "e", After: c.entry.InboxSeq - 1, Now: at})
			if string(got) != c.want || !json.Valid(got) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A message by itself has no number of an inbox.
func TestAppendMessage(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	m := &postbox.Message{ID: postbox.MessageID{1}, From: "alice", Room: "dev", Seq: 3, SentAt: at, Key: "k", Body: []byte{0xff}}
	const want = `{"id":"01000000-0000-0000-0000-000000000000","from":"alice","room":"dev","seq":3,"sent_at":"2026-11-22T15:04:05.000Z",` +
		`"idempotency_key":"k","content_type":"application/octet-stream","body_base64":"/w=="}`
	if got := string(postbox.AppendMessage(nil, m, true, at)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
