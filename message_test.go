package postbox_test

import (
	"strings"
	"testing"
	"time"

	"postbox"
)

func TestMessageID(t *testing.T) {
	t.Parallel()
	const text = "0198c1d2-0123-7abc-8def-0123456789ab"
	id, err := postbox.ParseMessageID(text)
	if err != nil || id.String() != text {
		t.Errorf("%s, %v", id, err)
	}
	if id[0] != 0x01 || id[6] != 0x7a || id[15] != 0xab {
		t.Errorf("bytes in another order: % x", id[:])
	}
	if upper, err := postbox.ParseMessageID(strings.ToUpper(text)); err != nil || upper != id {
		t.Errorf("in capitals: %s, %v", upper, err)
	}
	if got := string(id.Append([]byte("id="))); got != "id="+text {
		t.Errorf("appended: %s", got)
	}
	refuses(t, postbox.ErrInvalid, []string{
		"", text[1:], text + "0", "{" + text[2:] + "}", strings.ReplaceAll(text, "-", ""), strings.ReplaceAll(text, "-", "0"),
		"0198c1d20-123-7abc-8def-0123456789ab", "g198c1d2-0123-7abc-8def-0123456789ab",
	}, func(s string) error { _, err := postbox.ParseMessageID(s); return err })
}

// Requests that differ in anything have different digests, also where their
// parts put together are the same bytes.
func TestDigestTellsRequestsApart(t *testing.T) {
	t.Parallel()
	type request struct {
		destination, contentType, ref string
		expiry                        uint32
		body                          string
	}
	seen := make(map[postbox.Digest]request)
	for _, r := range []request{
		{},
		{destination: "inbox/bob"},
		{destination: "room/bob"},
		{destination: "inbox/bo", contentType: "b"},
		{destination: "inbox/bob", contentType: "text/plain"},
		{destination: "inbox/bob", ref: "text/plain"},
		{destination: "inbox/bob", body: "text/plain"},
		{destination: "inbox/bob", contentType: "a", ref: "b"},
		{destination: "inbox/bob", contentType: "ab"},
		{destination: "inbox/bob", ref: "ab"},
		{destination: "inbox/bob", expiry: 1},
		{destination: "inbox/bob", body: "\x00\x00\x00\x00\x00\x00\x00\x01"},
		{destination: "inbox/bob", expiry: 1, body: "x"},
		{destination: "inbox/bob", body: "x"},
		{destination: "inbox/bob", body: "x\x00"},
		{destination: "inbox/bob\x00"},
		{contentType: "\x00"},
		{ref: "\x00"},
	} {
		d := postbox.DigestOf(r.destination, r.contentType, r.ref, r.expiry, []byte(r.body))
		if again := postbox.DigestOf(r.destination, r.contentType, r.ref, r.expiry, []byte(r.body)); again != d {
			t.Errorf("%+v: twice, %x and %x", r, d, again)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%+v and %+v have the digest %x", other, r, d)
		}
		seen[d] = r
	}
}

// Digests are in the database: they must not change with a release.
func TestDigestIsKept(t *testing.T) {
	t.Parallel()
	d := postbox.DigestOf("inbox/bob", "text/plain", `{"a":1}`, 60, []byte("hello"))
	const want = "a3e4e8e8-173a-7e63-0f29-a21f523517ec"
	if got := postbox.MessageID(d).String(); got != want {
		t.Errorf("digest %s, was %s", got, want)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		at   time.Time
		want bool
	}{{time.Time{}, false}, {now.Add(time.Nanosecond), false}, {now, true}, {now.Add(-time.Hour), true}} {
		if got := (&postbox.Message{ExpiresAt: test.at}).Expired(now); got != test.want {
			t.Errorf("expires at %v: %v", test.at, got)
		}
	}
}
