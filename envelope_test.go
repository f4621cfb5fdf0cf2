package postbox_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

var sentAt = time.Date(2026, 11, 22, 15, 4, 5, 123_000_000, time.UTC)

func hello() *postbox.Message {
	id, _ := postbox.ParseMessageID("0198c1d2-0123-7abc-8def-0123456789ab")
	return &postbox.Message{ID: id, Seq: 17, From: "alice", To: "bob", SentAt: sentAt, Body: []byte("hello"), Device: "phone", Key: `k"7`}
}

// Byte for byte: clients that were written against this form stay right.
func TestAppendEnvelope(t *testing.T) {
	t.Parallel()
	const head = `{"inbox_seq":42,"epoch":"k3f9","type":"message","id":"0198c1d2-0123-7abc-8def-0123456789ab","from":"alice",`
	const tail = `"to":"bob","seq":17,"sent_at":"2026-11-22T15:04:05.123Z"`
	const plain = `,"content_type":"text/plain"`
	for name, test := range map[string]struct {
		change func(e *postbox.Entry, v *postbox.View)
		want   string
	}{
		"plain": {func(*postbox.Entry, *postbox.View) {}, head + tail + plain + `,"body":"hello"}`},
		"own": {func(e *postbox.Entry, _ *postbox.View) { e.Own = true },
			head + tail + `,"idempotency_key":"k\"7","device":"phone"` + plain + `,"body":"hello"}`},
		"own, without key and device": {func(e *postbox.Entry, _ *postbox.View) { e.Own, e.Message.Key, e.Message.Device = true, "", "" },
			head + tail + plain + `,"body":"hello"}`},
		"room": {func(e *postbox.Entry, _ *postbox.View) { e.Message.To, e.Message.Room = "", "dev" },
			head + strings.Replace(tail, `"to":"bob"`, `"room":"dev"`, 1) + plain + `,"body":"hello"}`},
		"jump": {func(_ *postbox.Entry, v *postbox.View) { v.After = 7 },
			strings.Replace(head, `42,`, `42,"after":7,`, 1) + tail + plain + `,"body":"hello"}`},
		"edited": {func(e *postbox.Entry, _ *postbox.View) { e.Message.EditedAt = sentAt.Add(time.Second) },
			head + tail + `,"edited_at":"2026-11-22T15:04:06.123Z"` + plain + `,"body":"hello"}`},
		"empty": {func(e *postbox.Entry, _ *postbox.View) { e.Message.Body = nil }, head + tail + plain + `,"body":""}`},
		"bytes": {func(e *postbox.Entry, _ *postbox.View) { e.Message.Body = []byte{0xff, 0} },
			head + tail + `,"content_type":"application/octet-stream","body_base64":"/wA="}`},
		"given type": {func(e *postbox.Entry, _ *postbox.View) { e.Message.ContentType = `a/b; c="d"` },
			head + tail + `,"content_type":"a/b; c=\"d\"","body":"hello"}`},
		"ref": {func(e *postbox.Entry, _ *postbox.View) { e.Message.Ref = `{"reply_to":"x"}` },
			head + tail + plain + `,"ref":{"reply_to":"x"},"body":"hello"}`},
		"too large": {func(_ *postbox.Entry, v *postbox.View) { v.TooLarge = 70_000 }, head + tail + plain + `,"too_large":70000}`},
		"expired": {func(e *postbox.Entry, _ *postbox.View) { e.Message.ExpiresAt = sentAt },
			head + tail + `,"expired":true}`},
		"not yet expired": {func(e *postbox.Entry, v *postbox.View) { e.Message.ExpiresAt = v.Now.Add(1) },
			head + tail + plain + `,"body":"hello"}`},
		"without a message": {func(e *postbox.Entry, _ *postbox.View) { e.Own, e.Type, e.Message = true, postbox.EntryRoom, nil },
			`{"inbox_seq":42,"epoch":"k3f9","type":"room"}`},
		"retracted": {func(e *postbox.Entry, v *postbox.View) { e.Own, e.Message.RetractedAt, v.TooLarge = true, sentAt, 9 },
			head + tail + `,"idempotency_key":"k\"7","device":"phone","retracted":true}`},
	} {
		e := &postbox.Entry{InboxSeq: 42, Message: hello()}
		v := postbox.View{Epoch: "k3f9", After: 41, Now: sentAt.Add(time.Minute)}
		test.change(e, &v)
		got := string(postbox.AppendEnvelope([]byte("before"), e, v))
		if diff := cmp.Diff("before"+test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if !json.Valid([]byte(got[len("before"):])) {
			t.Errorf("%s: not JSON", name)
		}
	}
}

func TestAppendErrorAndGap(t *testing.T) {
	t.Parallel()
	e := postbox.Errorf(postbox.CodeForbidden, `no "you"`)
	for _, test := range []struct{ got, want string }{
		{string(postbox.AppendError(nil, e, "inbox/carol", "k-7")),
			`{"type":"error","code":"forbidden","topic":"inbox/carol","idempotency_key":"k-7","message":"no \"you\""}`},
		{string(postbox.AppendError(nil, postbox.ErrInvalid, "a\x00\xff", "")),
			`{"type":"error","code":"invalid","topic":"a\u0000\ufffd","message":"invalid"}`},
		{string(postbox.AppendGap(nil, "k3f9", postbox.CodeExpired, 46, 500)),
			`{"type":"gap","epoch":"k3f9","code":"expired","after":46,"next":500}`},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// A string is written as encoding/json would read it, whatever its bytes.
func TestAppendString(t *testing.T) {
	t.Parallel()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, s := range []string{
		"", "plain", `"\`, "\b\f\n\r\t", "\x00\x1f\x7f", "é电话😀", "\u2028\u2029", "\u2027\u202a", "\ufffd", "\xff", "a\xe2\x80", "\xe2\x80\xa8", "\xed\xa0\x80",
		"\xf0\x9f\x98", "\xc0\x80", string(every),
	} {
		checkString(t, s)
	}
	if got := string(postbox.AppendString(nil, "a\u2028\xff\n")); got != `"a\u2028\ufffd\n"` {
		t.Errorf("%s", got)
	}
}

func checkString(t *testing.T, s string) {
	t.Helper()
	got := postbox.AppendString([]byte("x"), s)
	if same := postbox.AppendString([]byte("x"), []byte(s)); !bytes.Equal(got, same) {
		t.Errorf("%q: as a string %s, as bytes %s", s, got, same)
	}
	marshalled, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs string
	if err := json.Unmarshal(got[1:], &ours); err != nil {
		t.Errorf("%q: %s: %v", s, got, err)
	}
	if err := json.Unmarshal(marshalled, &theirs); err != nil || ours != theirs {
		t.Errorf("%q: %q, encoding/json has %q, %v", s, ours, theirs, err)
	}
	if bytes.ContainsAny(got, "\u2028\u2029") || !utf8.Valid(got) {
		t.Errorf("%q: %q is no line of UTF-8", s, got)
	}
}

// Every body comes out as it went in, and every string as encoding/json has it.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("hello"), "text/plain", `{"a":1}`, "k-7", "phone")
	f.Add([]byte{0xff, 0xfe, 0}, "", "", "", "电话")
	f.Add([]byte("\"\\\x00\u2028\ufffd"), "\x1f", "[]", "\"", "\\")
	f.Add([]byte("\xed\xa0\x80"), "", "{}", "", "")
	f.Fuzz(func(t *testing.T, body []byte, contentType, ref, key, device string) {
		checkString(t, string(body))
		m := hello()
		m.Body, m.ContentType, m.Key, m.Device = body, contentType, key, device
		if json.Valid([]byte(ref)) {
			m.Ref = ref // the edges let nothing else in
		}
		raw := postbox.AppendEnvelope(nil, &postbox.Entry{InboxSeq: 42, Message: m, Own: true}, postbox.View{Epoch: "k3f9", After: 41})
		var got struct {
			InboxSeq    int64           `json:"inbox_seq"`
			ContentType string          `json:"content_type"`
			Key         string          `json:"idempotency_key"`
			Device      string          `json:"device"`
			Ref         json.RawMessage `json:"ref"`
			Body        *string         `json:"body"`
			Base64      *string         `json:"body_base64"`
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		back := decodedBody(t, got.Body, got.Base64)
		if !bytes.Equal(back, body) {
			t.Errorf("body %q came back as %q", body, back)
		}
		if utf8.ValidString(device) && got.Device != device {
			t.Errorf("device %q came back as %q", device, got.Device)
		}
		if utf8.ValidString(contentType) && contentType != "" && got.ContentType != contentType {
			t.Errorf("content type %q came back as %q", contentType, got.ContentType)
		}
		if string(got.Ref) != strings.TrimSpace(m.Ref) && m.Ref != "" {
			t.Errorf("ref %q came back as %q", m.Ref, got.Ref)
		}
	})
}

func decodedBody(t *testing.T, text, base *string) []byte {
	t.Helper()
	switch {
	case text != nil && base == nil:
		return []byte(*text)
	case base != nil && text == nil:
		b, err := base64.StdEncoding.DecodeString(*base)
		if err != nil {
			t.Error(err)
		}
		return b
	}
	t.Errorf("neither or both of body and body_base64")
	return nil
}
