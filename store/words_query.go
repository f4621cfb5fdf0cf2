package store

import (
	"strings"
	"unicode/utf8"

	"postbox"
)

// Bounds of what is looked for.
const (
	// maxQueryTerms is how many terms the index is asked for: what has those is
	// looked at for the rest.
	maxQueryTerms = 64
	// minPrefix is how many characters a word must have to stand for all that begin
	// with it: a shorter beginning is that of too many.
	minPrefix = 3
)

// wanted is what somebody looks for: the parts that a message must have.
type wanted []part

// part is tokens that must follow each other in a message.
type part struct {
	tokens []token
	prefix bool // it is one word, of which this is the beginning
}

// quotes are the marks of any language around a phrase, as far as they are not
// used for anything else.
const quotes = `"“”„«»「」『』＂`

// wantedOf reads what somebody has typed: words, all of which a message must
// have, and phrases between quotation marks, which it must have as they are. A
// word with a star behind it is a beginning. The error is ErrInvalid.
func wantedOf(text string) (wanted, error) {
	var w wanted
	for pieces := 0; ; pieces++ {
		piece, rest, more := cutAny(text, quotes)
		// Behind a mark without another one nothing is quoted.
		if pieces%2 == 1 && more {
			if tokens := tokensOf(piece); len(tokens) > 0 {
				w = append(w, part{tokens: tokens})
			}
		} else {
			w = append(w, partsOf(piece)...)
		}
		if !more {
			break
		}
		text = rest
	}
	if len(w) == 0 {
		return nil, postbox.Errorf(postbox.CodeInvalid, "text has nothing to look for: give at least a letter, a digit or a symbol")
	}
	return w, nil
}

// cutAny cuts a text at the first of some characters.
func cutAny(text, chars string) (before, after string, found bool) {
	i := strings.IndexAny(text, chars)
	if i < 0 {
		return text, "", false
	}
	_, size := utf8.DecodeRuneInString(text[i:])
	return text[:i], text[i+size:], true
}

// partsOf makes a part of each word, and of each run of characters.
func partsOf(text string) []part {
	var all []part
	for {
		piece, rest, star := cutAny(text, "*＊")
		tokens := tokensOf(piece)
		for len(tokens) > 0 {
			end := 1
			for end < len(tokens) && tokens[end].glued {
				end++
			}
			all = append(all, part{tokens: tokens[:end]})
			tokens = tokens[end:]
		}
		if !star {
			return all
		}
		if r, _ := utf8.DecodeLastRuneInString(plain(piece)); kindOf(r) == inWord {
			p := &all[len(all)-1]
			p.prefix = utf8.RuneCountInString(p.tokens[0].text) >= minPrefix
		}
		text = rest
	}
}

// matches reports whether a body has all parts.
func (w wanted) matches(body string) bool {
	tokens := tokensOf(body)
	for _, p := range w {
		if !p.within(tokens) {
			return false
		}
	}
	return true
}

// within reports whether tokens have the part somewhere.
func (p part) within(tokens []token) bool {
	for i := 0; i+len(p.tokens) <= len(tokens); i++ {
		if p.at(tokens[i:]) {
			return true
		}
	}
	return false
}

func (p part) at(tokens []token) bool {
	for i, t := range p.tokens {
		switch {
		case i > 0 && t.glued && !tokens[i].glued:
			return false
		case t.text == tokens[i].text:
		case !p.prefix || tokens[i].single || !strings.HasPrefix(tokens[i].text, t.text):
			return false
		}
	}
	return true
}

// terms are what the index is asked for: messages that have all of them may
// match. Those that have a colon behind them stand for a beginning.
func (w wanted) terms() []string {
	var all []string
	seen := make(map[string]bool)
	add := func(term string) {
		if !seen[term] && len(all) < maxQueryTerms {
			seen[term] = true
			all = append(all, term)
		}
	}
	for _, p := range w {
		for i, t := range p.tokens {
			next := i+1 < len(p.tokens) && p.tokens[i+1].glued
			switch {
			case t.glued:
				add(quoteTerm(p.tokens[i-1].text + t.text))
			case next: // its pair says more
			case p.prefix:
				add(quoteTerm(t.text) + ":*")
			default:
				add(quoteTerm(t.text))
			}
		}
	}
	return all
}

// quoteTerm writes a term as a tsquery has it. There is neither a
// quotation mark nor a backslash in a term.
func quoteTerm(term string) string { return "'" + term + "'" }
