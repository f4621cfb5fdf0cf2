package client_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postbox"
	"postbox/client"
)

const anID = "0198c1d2-0000-7000-8000-000000000001"

func TestParseEnvelopeReadsTheSpecification(t *testing.T) {
	t.Parallel()
	id, err := postbox.ParseMessageID(anID)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 15, 4, 5, 123e6, time.UTC)
	for name, tt := range map[string]struct {
		text string
		want client.Envelope
	}{
		"message": {
			`{"inbox_seq":42,"epoch":"k3f9","type":"message","id":"` + anID + `","from":"alice","to":"bob","seq":17,
			  "sent_at":"2026-11-22T15:04:05.123Z","content_type":"text/plain","body":"hello","idempotency_key":"k-7","device":"phone"}`,
			client.Envelope{Type: client.TypeMessage, InboxSeq: 42, After: 41, Epoch: "k3f9", ID: id, From: "alice", To: "bob",
				Seq: 17, SentAt: at, ContentType: "text/plain", Body: []byte("hello"), Key: "k-7", Device: "phone"},
		},
		"behind spared entries": {
			`{"inbox_seq":42,"after":0,"epoch":"k3f9","type":"message"}`,
			client.Envelope{Type: client.TypeMessage, InboxSeq: 42, Epoch: "k3f9"},
		},
		"bytes": {
			`{"type":"message","body_base64":"/wA="}`,
			client.Envelope{Type: client.TypeMessage, Body: []byte{0xff, 0}},
		},
		"empty body": {`{"type":"message","body":""}`, client.Envelope{Type: client.TypeMessage, Body: []byte{}}},
		"edit": {
			`{"inbox_seq":43,"type":"edit","ref":{"id":"x"},"edited_at":"2026-11-22T15:04:05.123Z","body":"hello!"}`,
			client.Envelope{Type: client.TypeEdit, InboxSeq: 43, After: 42, Ref: json.RawMessage(`{"id":"x"}`), EditedAt: at, Body: []byte("hello!")},
		},
		"tombstones": {
			`{"type":"message","retracted":true,"expired":true,"too_large":70000}`,
			client.Envelope{Type: client.TypeMessage, Retracted: true, Expired: true, TooLarge: 70000},
		},
		"room": {
			`{"inbox_seq":46,"type":"room","room":"dev","from":"alice","event":"added","user":"carol","role":"member"}`,
			client.Envelope{Type: client.TypeRoom, InboxSeq: 46, After: 45, Room: "dev", From: "alice", Event: "added", Subject: "carol", Role: "member"},
		},
		"room's settings": {
			`{"inbox_seq":47,"type":"room","room":"dev","from":"alice","event":"updated","title":"Dev","public":true,"history":"joined"}`,
			client.Envelope{Type: client.TypeRoom, InboxSeq: 47, After: 46, Room: "dev", From: "alice", Event: postbox.RoomUpdated,
				Title: "Dev", Public: true, History: postbox.HistoryJoined},
		},
		"gap": {
			`{"type":"gap","epoch":"k3f9","code":"expired","after":46,"next":500}`,
			client.Envelope{Type: client.TypeGap, Epoch: "k3f9", Code: postbox.CodeExpired, After: 46, Next: 500},
		},
		"error": {
			`{"type":"error","code":"forbidden","topic":"inbox/carol","idempotency_key":"k-7","message":"no"}`,
			client.Envelope{Type: client.TypeError, Code: postbox.CodeForbidden, Topic: "inbox/carol", Key: "k-7", Text: "no"},
		},
		"of a later server": {`{"type":"poll","options":["a"],"inbox_seq":1}`, client.Envelope{Type: "poll", InboxSeq: 1}},
	} {
		got, err := client.ParseEnvelope([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "null", "[]", "{}", `{"type":""}`, `{"type":1}`, `{"type":"message","id":"7"}`, `{"type":"message","inbox_seq":"1"}`,
		`{"type":"message","body_base64":"!"}`, `{"type":"message","sent_at":"yesterday"}`, `{"type":"message"} {}`,
	} {
		if got, err := client.ParseEnvelope([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, got)
		} else if len(text) > 20 && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows the envelope: %v", err)
		}
	}
}

// Whatever the server writes is read back, byte for byte.
func TestParseEnvelopeReadsWhatTheServerWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &postbox.Message{
			ID: postbox.MessageID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), Seq: postbox.Seq(rapid.Int64Min(1).Draw(t, "seq")),
			From: "alice", To: "bob", SentAt: time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "sent at")),
			ContentType: rapid.StringN(1, -1, 40).Draw(t, "content type"),
			Body:        rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "body"),
			Key:         rapid.StringMatching(`[!-"$-*,-.0-~]{1,20}`).Draw(t, "key"), Device: rapid.String().Draw(t, "device"),
		}
		n := postbox.InboxSeq(rapid.Int64Min(1).Draw(t, "inbox_seq"))
		text := postbox.AppendEnvelope(nil, &postbox.Entry{InboxSeq: n, Message: m, Own: true}, postbox.View{Epoch: "k3f9", After: 0, Now: m.SentAt})
		got, err := client.ParseEnvelope(text)
		if err != nil {
			t.Fatal(err)
		}
		want := client.Envelope{Type: client.TypeMessage, InboxSeq: n, Epoch: "k3f9", ID: m.ID, From: "alice", To: "bob", Seq: m.Seq,
			SentAt: m.SentAt.UTC(), ContentType: m.ContentType, Body: append([]byte{}, m.Body...), Key: m.Key, Device: m.Device}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add([]byte(`{"inbox_seq":42,"epoch":"k3f9","type":"message","id":"` + anID + `","body":"hello"}`))
	f.Add([]byte(`{"type":"gap","epoch":"k3f9","code":"expired","after":46,"next":500}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := client.ParseEnvelope(data)
		if err == nil && e.Type == "" {
			t.Errorf("%q is read as an envelope without a type", data)
		}
		_ = e.Position()
	})
}
