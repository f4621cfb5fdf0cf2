package store

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Bounds of what is indexed of a message: of a larger one the beginning is found.
const (
	maxIndexedBytes = 256 << 10 // of its body
	maxIndexedTerms = 4096      // different ones
	maxWordBytes    = 96        // of a word; a longer one is known by its beginning
)

// token is a piece of a text that can be looked for: a word, or a character of a
// script that puts no spaces between words, or a symbol such as an emoji.
type token struct {
	text string
	// single is true for a character; glued, if another one stands directly
	// before it.
	single, glued bool
}

// dense are the scripts in which words are not told apart by spaces, or carry
// endings that nobody looks for: their texts are known by single characters and
// pairs of them.
var dense = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo, unicode.Yi,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// longVowel belongs to no script, but stands among Katakana.
const longVowel = 'ー'

// plain brings a text into the one form that is compared (Unicode NFKC, folded
// case): compatible characters are the same, full width or half, and so are
// capitals and small letters. Letters with diacritics are other letters. What
// cannot be seen, and the colour of an emoji, is left out.
func plain(text string) string {
	if isASCII(text) {
		return strings.ToLower(text)
	}
	text = strings.ToValidUTF8(text, " ")
	text = strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf && unicode.In(r, unicode.Cf, unicode.Sk, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, text)
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// tokensOf takes a text apart. What is neither letter, digit nor symbol divides
// words.
func tokensOf(text string) []token {
	text = plain(text)
	var all []token
	begin := -1 // of the word that is being read
	end := func(at int) {
		if begin >= 0 {
			all = append(all, token{text: shortened(text[begin:at])})
			begin = -1
		}
	}
	glued := false
	for i, r := range text {
		switch kindOf(r) {
		case inWord:
			glued = false
			if begin < 0 {
				begin = i
			}
		case inDense:
			end(i)
			all = append(all, token{text[i : i+utf8.RuneLen(r)], true, glued})
			glued = true
		case symbol:
			end(i)
			all = append(all, token{text: text[i : i+utf8.RuneLen(r)], single: true})
			glued = false
		case between:
			end(i)
			glued = false
		}
	}
	end(len(text))
	return all
}

// shortened is the beginning of a long word.
func shortened(word string) string {
	if len(word) <= maxWordBytes {
		return word
	}
	cut := maxWordBytes
	for !utf8.RuneStart(word[cut]) {
		cut--
	}
	return word[:cut]
}

// kind is what a character is to a text.
type kind uint8

const (
	between kind = iota // divides words
	inWord
	inDense
	symbol
)

func kindOf(r rune) kind {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return inWord
		}
		return between
	case r == longVowel || unicode.In(r, dense...) && unicode.In(r, unicode.L, unicode.M, unicode.N):
		return inDense
	case unicode.In(r, unicode.L, unicode.M, unicode.N):
		return inWord
	case unicode.Is(unicode.So, r):
		return symbol
	}
	return between
}

// termsOf are the different terms by which a body is found, in the order of
// their first place.
func termsOf(body string) []string {
	if len(body) > maxIndexedBytes {
		cut := maxIndexedBytes
		for !utf8.RuneStart(body[cut]) {
			cut--
		}
		body = body[:cut]
	}
	var all []string
	seen := make(map[string]bool)
	add := func(term string) {
		if !seen[term] && len(all) < maxIndexedTerms {
			seen[term] = true
			all = append(all, term)
		}
	}
	tokens := tokensOf(body)
	for i, t := range tokens {
		add(t.text)
		if t.glued {
			add(tokens[i-1].text + t.text)
		}
	}
	return all
}

// plainBytes is up to how many bytes of ASCII a body has its terms found in place, each
// looked for among those before it: most messages.
const plainBytes = 256

// appendTerms appends the terms of a body, those of termsOf, each after a space, and
// reports whether there are any.
func appendTerms(b, body []byte) ([]byte, bool) {
	before := len(b)
	if len(body) <= plainBytes && !slices.ContainsFunc(body, func(c byte) bool { return c >= utf8.RuneSelf }) {
		b = appendWords(b, body)
		return b, len(b) > before
	}
	for _, t := range termsOf(string(body)) {
		b = append(append(b, ' '), t...)
	}
	return b, len(b) > before
}

// appendWords appends the different words of ASCII, each after a space.
func appendWords(b, text []byte) []byte {
	words := len(b)
	for i := 0; i < len(text); {
		if kindOf(rune(lower(text[i]))) != inWord {
			i++
			continue
		}
		at := len(b)
		b = append(b, ' ')
		for ; i < len(text) && kindOf(rune(lower(text[i]))) == inWord; i++ {
			if len(b) <= at+maxWordBytes {
				b = append(b, lower(text[i]))
			}
		}
		if hasWord(b[words:at], b[at:]) {
			b = b[:at]
		}
	}
	return b
}

// hasWord reports whether a word is among others, each after a space.
func hasWord(words, word []byte) bool {
	for len(words) > 0 {
		end := 1 + bytes.IndexByte(words[1:], ' ')
		if end == 0 {
			end = len(words)
		}
		if bytes.Equal(words[:end], word) {
			return true
		}
		words = words[end:]
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// indexed reports whether the body of a message can be found by its words: it is
// text, as far as its type says, and PostgreSQL can hold it.
func indexed(contentType string, body []byte) bool {
	if len(body) == 0 || !readable(contentType) {
		return false
	}
	if len(body) > maxIndexedBytes { // it may have been cut within a character
		cut := len(body) - 1
		for cut > maxIndexedBytes && !utf8.RuneStart(body[cut]) {
			cut--
		}
		if !utf8.FullRune(body[cut:]) {
			body = body[:cut]
		}
	}
	return utf8.Valid(body) && bytes.IndexByte(body, 0) < 0
}

// readable reports whether people read what has this type; none is text.
func readable(contentType string) bool {
	name, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	name = strings.TrimSpace(name)
	kind, sub, _ := strings.Cut(name, "/")
	switch {
	case name == "", kind == "text":
		return true
	case kind == "application":
		return sub == "json" || sub == "xml" || strings.HasSuffix(sub, "+json") || strings.HasSuffix(sub, "+xml")
	}
	return false
}
