package model

import (
	"time"
)

// text is what a message says, with where it goes and its key. Several
// publishes may ask for the same text: under a key, or a tick.
type text struct {
	token  string // unique, and in the body
	tick   bool   // the device says this again and again
	sender string
	device string // of a tick, which has no other
	to     string
	key    string
	body   string
	ctype  string
	ref    string
	expiry uint32   // seconds
	long   int      // repetitions of a filler behind the body
	only   *publish // that asks for it; with neither key nor tick
	never  string   // the code with which it must be refused; empty: none
	made   time.Time
	sent   time.Time // first
	known  time.Time // first acknowledgement that was compared
	rows   []*row
	acks   map[string]*publish // of a tick: by the row that answered one alone
	// sure are publishes that must have a row of their own; all are publishes.
	sure, all int
}

// publish is one message on its way, with all attempts to send it.
type publish struct {
	*text
	n       int
	d       *device
	qos     byte
	id      uint16
	topic   string
	first   *conn
	sends   int
	dups    int
	waiting int // acknowledgements due on the present connection
	phase   phase
	session int // in which all attempts were made; 0: none or several
	at      time.Time

	answered time.Time // first acknowledgement that says "stored"
	refused  string    // the code, if it was refused
	places   []place
	unclear  bool   // acknowledged, but by 3.1.1 and perhaps refused
	row      string // id in the acknowledgement
	alone    bool   // cannot have been taken for another
	replied  bool   // any answer came: the client does not send it again
}

// place is where in the order of a connection's publishes one was first sent.
type place struct {
	c *conn
	n int
}

// phase is how far a publish is.
type phase int

const (
	underway phase = iota
	received       // PUBREC came
	released       // PUBREL is sent
	done           // its packet id is free
	given          // given up: it may be stored or not
)

// keyUse is an idempotency key of a sender: what was asked for under it, and
// what was stored.
type keyUse struct {
	texts []*text
	row   *row
}

// book knows every text and publish.
type book struct {
	next      int
	tokens    map[string]*text
	ticks     map[string]*text   // by body
	keys      map[string]*keyUse // by sender and key
	recent    map[string][]*text // keyed texts by sender, for repetition
	publishes int
}

func newBook() book {
	return book{
		tokens: make(map[string]*text), ticks: make(map[string]*text),
		keys: make(map[string]*keyUse), recent: make(map[string][]*text),
	}
}

func (b *book) add(x *text) {
	b.tokens[x.token] = x
	if x.key == "" {
		return
	}
	k := x.sender + " " + x.key
	use := b.keys[k]
	if use == nil {
		use = &keyUse{}
		b.keys[k] = use
	}
	use.texts = append(use.texts, x)
	recent := append(b.recent[x.sender], x)
	b.recent[x.sender] = recent[max(0, len(recent)-12):]
}

// of finds the text of a body.
func (b *book) of(body string) *text {
	if x := b.ticks[body]; x != nil {
		return x
	}
	x := b.tokens[tokenOf(body)]
	if x == nil || x.whole() != body {
		return nil
	}
	return x
}

// tokenOf cuts the token out of a body.
func tokenOf(body string) string {
	const length = len("m000000.")
	for i := 0; i+length <= len(body) && i < 4; i++ {
		if body[i] == 'm' && body[i+length-1] == '.' {
			return body[i : i+length]
		}
	}
	return ""
}
