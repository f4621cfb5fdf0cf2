package bench

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestStampIsFoundRawAndInJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(MinBodySize, 500).Draw(t, "size")
		want := stamp{
			run:     rapid.Uint32().Draw(t, "run"),
			sender:  rapid.Uint16().Draw(t, "sender"),
			counter: rapid.Uint32().Draw(t, "counter"),
			sent:    rapid.Int64Min(0).Draw(t, "sent"),
		}
		body := newBody(size)
		padding := body[MinBodySize:]
		want.put(body)

		envelope, err := json.Marshal(map[string]any{"inbox_seq": 7, "body": string(body), "zz": "end"})
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range [][]byte{body, envelope} {
			got, intact, ok := findStamp(payload, padding)
			if !ok || !intact || got != want {
				t.Fatalf("in %q: got %+v, intact %t, found %t; want %+v", payload, got, intact, ok, want)
			}
		}
	})
}

func TestStampThatIsNotWhole(t *testing.T) {
	t.Parallel()
	body := newBody(60)
	padding := body[MinBodySize:]
	for name, payload := range map[string][]byte{
		"empty":        nil,
		"no marker":    []byte("hello"),
		"marker alone": []byte(marker),
		"cut short":    body[:MinBodySize-1],
		"upper case":   []byte(marker + "A" + string(body[len(marker)+1:])),
	} {
		if s, _, ok := findStamp(payload, padding); ok {
			t.Errorf("%s: found %+v", name, s)
		}
	}
	if _, intact, ok := findStamp(body[:59], padding); !ok || intact {
		t.Errorf("padding cut short: found %t, intact %t", ok, intact)
	}
}

func FuzzFindStamp(f *testing.F) {
	f.Add(newBody(100))
	f.Add([]byte(marker))
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, _, ok := findStamp(payload, nil)
		if !ok {
			return
		}
		again := newBody(MinBodySize)
		s.put(again)
		if got, _, ok := findStamp(again, nil); !ok || got != s {
			t.Errorf("%+v written and read is %+v", s, got)
		}
	})
}
