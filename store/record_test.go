package store

import (
	"errors"
	"testing"
	"time"

	"postbox/internal/pgtest"
)

// What PostgreSQL writes is read as it stands, whatever is NULL.
func TestRecords(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const ask = `
		SELECT string_agg(record_send(ROW(r.n, r.id, r.at, r.words, r.raw)), '')
		  FROM (VALUES (1::bigint, '0198c1d2-0000-7000-8000-0000000000ff'::uuid, timestamptz '2026-11-22 15:04:05.123456Z', 'hé', '\x00ff'::bytea),
		               (-2, NULL, timestamptz '1969-12-31 23:59:59Z', NULL, ''), (NULL, NULL, NULL, '', NULL)) r (n, id, at, words, raw)`
	var records []byte
	if err := s.db.GetContext(t.Context(), &records, ask); err != nil {
		t.Fatal(err)
	}
	type row struct {
		n     int64
		last  byte // of the id
		at    string
		words string
		raw   string
		some  bool
	}
	want := []row{
		{1, 0xff, "2026-11-22T15:04:05.123456Z", "hé", "\x00\xff", true},
		{-2, 0, "1969-12-31T23:59:59Z", "", "", true},
		{0, 0, "0001-01-01T00:00:00Z", "", "", false},
	}
	ends := make(map[int]bool) // after which bytes a record ends
	d := recordDecoder{rest: records}
	for i, w := range want {
		if !d.next() {
			t.Fatalf("there are only %d records: %v", i, d.err)
		}
		got := row{n: d.integer()}
		id := d.uuid()
		got.last, got.at, got.words = id[15], d.time().Format(time.RFC3339Nano), d.text()
		raw, some := d.bytes()
		got.raw, got.some = string(raw), some
		if got != w {
			t.Errorf("record %d is %+v, not %+v", i+1, got, w)
		}
		ends[len(records)-len(d.rest)] = true
	}
	if d.next() || d.err != nil {
		t.Errorf("there is more, or an error: %v", d.err)
	}
	for n := 1; n < len(records); n++ {
		d := recordDecoder{rest: records[:n]}
		for d.next() {
			d.integer()
			d.uuid()
			d.time()
			d.text()
			d.bytes()
		}
		if (d.err == nil) != ends[n] {
			t.Errorf("%d of %d bytes: %v", n, len(records), d.err)
		}
		if d.err != nil && !errors.Is(d.err, errRecord) {
			t.Fatal(d.err)
		}
	}
}
