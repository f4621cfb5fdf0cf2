package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"postbox"
)

func TestTermsOf(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		"":                       nil,
		" -- ":                   nil,
		"Hello, hello WORLD":     {"hello", "world"},
		"don't":                  {"don", "t"},
		"天气好":                    {"天", "气", "天气", "好", "气好"},
		"天 气":                    {"天", "气"},
		"iPhone手机":               {"iphone", "手", "机", "手机"},
		"Ｆｕｌｌ １２":                {"full", "12"},
		"ｶﾞｯ":                    {"ガ", "ッ", "ガッ"},
		"ラーメン":                   {"ラ", "ー", "ラー", "メ", "ーメ", "ン", "メン"},
		"한국":                     {"한", "국", "한국"},
		"Cafe\u0301 CAFÉ cafe":   {"café", "cafe"},
		"soft\u00adhyphen":       {"softhyphen"},
		"👍🏽👩\u200d💻":             {"👍", "👩", "💻"},
		"İstanbul":               {"i̇stanbul"},
		"a\u0000b":               {"a", "b"},
		"\u0301 x":               {"\u0301", "x"},
		strings.Repeat("é", 300): {strings.Repeat("é", maxWordBytes/2)},
	} {
		if got := termsOf(body); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
	var long strings.Builder
	for i := range 3 * maxIndexedTerms {
		long.WriteString("w" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + " ")
	}
	if n := len(termsOf(long.String())); n != maxIndexedTerms {
		t.Errorf("%d terms of a body with more", n)
	}
	if n := len(termsOf(strings.Repeat("é", 1<<20))); n != 1 {
		t.Errorf("%d terms of one word", n)
	}
}

// What is written to the index are the terms, however they were found.
func TestAppendTerms(t *testing.T) {
	t.Parallel()
	const letters = "abAB09 .-'\\\té天"
	for n := range 20_000 {
		var body []byte
		for range n % 64 {
			body = append(body, letters[rand.IntN(len(letters))])
		}
		if n%4 > 0 { // ASCII only
			body = bytes.Map(func(r rune) rune {
				if r >= utf8.RuneSelf {
					return 'x'
				}
				return r
			}, body)
		}
		switch n % 100 {
		case 0, 1:
			body = bytes.Repeat(body, 20)
		case 2, 3: // at the bound
			body = bytes.Repeat(append(body, 'x'), plainBytes)[:plainBytes+n%2]
		}
		want := termsOf(string(body))
		got, found := appendTerms([]byte("before"), body)
		all := strings.Fields(strings.TrimPrefix(string(got), "before"))
		if !slices.Equal(all, want) || found != (len(want) > 0) {
			t.Fatalf("%q: %q, want %q", body, all, want)
		}
	}
	long := strings.Repeat("a", maxWordBytes+1)
	if got, _ := appendTerms(nil, []byte(long+" "+long[1:])); string(got) != " "+long[1:] {
		t.Errorf("a long word is %q", got)
	}
}

// What is no text, by its type or its bytes, is not indexed.
func TestIndexed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentType, body string
		want              bool
	}{
		{"", "words", true},
		{"", "", false},
		{"text/plain; charset=utf-8", "words", true},
		{"Text/Markdown", "words", true},
		{"application/json", `{"text":"words"}`, true},
		{"application/vnd.chat+json", `{}`, true},
		{"application/octet-stream", "words", false},
		{"image/svg+xml", "<svg/>", false},
		{"image/png", "words", false},
		{"nonsense", "words", false},
		{"", "nul\x00", false},
		{"text/plain", "\xff\xfe", false},
		{"", strings.Repeat("天", maxIndexedBytes)[:maxIndexedBytes+4], true}, // cut within a character
		{"", strings.Repeat("天", maxIndexedBytes)[:maxIndexedBytes+3] + "\xff", false},
	} {
		if got := indexed(c.contentType, []byte(c.body)); got != c.want {
			t.Errorf("%s %q: %v", c.contentType, c.body, got)
		}
	}
}

func TestWantedOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"Hello*":             {"'hello':*"},
		"hello":              {"'hello'"},
		"he* wor* * x -*":    {"'he'", "'wor':*", "'x'"},
		"he":                 {"'he'"},
		"hello w":            {"'hello'", "'w'"},
		"hello hello*":       {"'hello'", "'hello':*"},
		"天":                  {"'天'"},
		"天气":                 {"'天气'"},
		"天气好":                {"'天气'", "'气好'"},
		`"see you" tomorrow`: {"'see'", "'you'", "'tomorrow'"},
		`see "you soon"`:     {"'see'", "'you'", "'soon'"},
	} {
		w, err := wantedOf(text)
		if got := w.terms(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "…", `""`, "\xff"} {
		if w, err := wantedOf(text); !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("%q: %v, %v", text, w, err)
		}
	}
}

// searchable is what the operation demands of a text.
var searchable = regexp.MustCompile(`[\p{L}\p{N}\p{So}]`)

// FuzzTerms makes terms of what strangers write and look for: never more or
// longer ones than there is room for, none that PostgreSQL would read as
// something else, and what is looked for is found in itself.
func FuzzTerms(f *testing.F) {
	for _, s := range []string{"", "Hello world", "天气好 hello", "ｶﾞｯ", "👩\u200d💻", `"a b" c`, "' & | \\ :* !", "\u0301\ufeff", "ﷺ", "ǰ", "\xff\x00"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, body, text string) {
		terms := termsOf(body)
		if len(terms) > maxIndexedTerms {
			t.Fatalf("%d terms", len(terms))
		}
		for _, term := range terms {
			if len(term) == 0 || len(term) > maxWordBytes+2*utf8.UTFMax || !utf8.ValidString(term) || strings.ContainsAny(term, "'\\ \n\x00:ABCDU") {
				t.Fatalf("%q has the term %q", body, term)
			}
		}
		w, err := wantedOf(text)
		if err != nil {
			if utf8.ValidString(text) && searchable.MatchString(text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if n := len(w.terms()); n == 0 || n > maxQueryTerms {
			t.Fatalf("%q looks for %d terms", text, n)
		}
		if !w.matches(text) {
			t.Fatalf("%q is not found in itself", text)
		}
		// The index must lead to whatever matches.
		if w.matches(body) && len(terms) < maxIndexedTerms && len(body) <= maxIndexedBytes {
			for _, q := range w.terms() {
				q, beginning := strings.CutSuffix(q, ":*")
				q = strings.Trim(q, "'")
				if !slices.ContainsFunc(terms, func(s string) bool { return s == q || beginning && strings.HasPrefix(s, q) }) {
					t.Fatalf("%q matches %q, but has no term %q", body, text, q)
				}
			}
		}
	})
}
