package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"postbox"
)

// finderSettings are those of the connections that are searched on: everything is
// found by an index.
var finderSettings = map[string]string{
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"plan_cache_mode":  "force_generic_plan",
}

// FinderConnections is how many searches PostgreSQL does at once: others wait, so
// that they cannot take all of its processors.
const FinderConnections = 4

// searchBytes is how much body a page of what was found holds, in bytes: with its
// last message it may be more.
const searchBytes = 1 << 20

// mostLooks is how many messages a search may look at that have all words, but
// not as they were asked for.
const mostLooks = 50_000

func openFinder(s *Store) (*statements, error) {
	db, err := s.openWith(finderSettings)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(min(FinderConnections, s.options.PoolSize))
	return &statements{db: db}, nil
}

// Search finds messages that the user may read, the newest first, and reports
// whether there are more; at most as many as asked for, and fewer when they are
// large, one at least. What is retracted or has expired is not found, and of an
// edited message only what it says now. What has just come to the user's inbox is found
// at once, anything else when it is in the index. Of messages of one moment that are in
// several conversations the order is always the same. A bound that names a
// message which the user may not see, and a sender who does not exist, are
// ErrNotFound; a text with nothing to look for is ErrInvalid.
//
// Of a frequent word it looks at the newest messages first, and at further ones
// in steps: so it does not matter how many messages have it.
func (s *Store) Search(ctx context.Context, r postbox.SearchRequest) ([]*postbox.Message, bool, error) {
	w, err := wantedOf(r.Text)
	if err != nil {
		return nil, false, err
	}
	f := &find{store: s, request: &r, wanted: w, terms: w.terms()}
	if err := f.prepare(ctx); err != nil {
		return nil, false, err
	}
	if len(f.scopes) == 0 { // a conversation without a message
		return nil, false, nil
	}
	if err := f.look(ctx); err != nil {
		return nil, false, err
	}
	f.join()
	messages, more := f.page()
	return messages, more, f.name(ctx, messages)
}

// find is one search on its way.
type find struct {
	store   *Store
	request *postbox.SearchRequest
	wanted  wanted
	terms   []string

	scopes []string // whose messages: each is a tsquery; none: there are no messages
	places map[postbox.ConversationID]*postbox.Place
	sender postbox.UserID // zero: anybody
	// Both are excluded.
	above, below moment

	found  []*hit
	recent []*hit // that may not be in the index
	looks  int    // messages that were looked at in the index
}

// moment is the place of a message in the order of what is found.
type moment struct {
	at           time.Time
	conversation postbox.ConversationID
	seq          postbox.Seq
}

func (m moment) compare(o moment) int {
	return cmp.Or(m.at.Compare(o.at), cmp.Compare(m.conversation, o.conversation), cmp.Compare(m.seq, o.seq))
}

// The moments before and after all messages.
var (
	never  = moment{at: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}
	always = moment{at: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
)

// hit is a message that has what was asked for.
type hit struct {
	moment
	message *postbox.Message
	to      postbox.UserID // the other side of a direct conversation; else zero
	room    postbox.Room   // else empty
}

// prepare finds out where to look.
func (f *find) prepare(ctx context.Context) error {
	r := f.request
	if r.From != "" {
		id, err := f.store.userNamed(ctx, r.From)
		if err != nil {
			return err
		}
		f.sender = id
	}
	if err := f.findPlaces(ctx); err != nil {
		return err
	}
	var err error
	f.above, f.below = never, always
	if r.After.Set {
		if f.above, err = f.boundary(ctx, r.After, true); err != nil {
			return err
		}
	}
	if r.Before.Set {
		if f.below, err = f.boundary(ctx, r.Before, false); err != nil {
			return err
		}
	}
	return nil
}

// userNamed finds a user by name.
func (s *Store) userNamed(ctx context.Context, name postbox.User) (id postbox.UserID, err error) {
	const look = `SELECT id FROM postbox.users WHERE name = $1`
	err = s.archive.query(ctx, look, func(rows *sql.Rows) error { return rows.Scan(&id) }, name)
	if err != nil {
		return 0, away("find a user", err)
	}
	if id == 0 {
		return 0, errNoUser(name)
	}
	return id, nil
}

// findPlaces finds the conversations to look in: those of two users are known by
// the users, others are named.
func (f *find) findPlaces(ctx context.Context) error {
	r := f.request
	f.places = make(map[postbox.ConversationID]*postbox.Place)
	if p := r.Place; p != nil {
		if p.Conversation == 0 {
			return nil
		}
		f.places[p.Conversation] = p
		f.scopes = []string{conversationTerm(p.Conversation)}
		if p.Room == "" && p.WithID != p.SelfID {
			f.scopes = []string{userTerm(p.SelfID) + " & " + userTerm(p.WithID)}
		}
		return nil
	}
	const look = `
		SELECT c.id, c.room, m.joined_seq, coalesce(m.left_seq, 0), m.left_seq IS NULL, c.history = 'all'
		  FROM postbox.memberships m JOIN postbox.conversations c ON c.id = m.conversation_id
		 WHERE m.user_id = $1 AND m.left_seq IS NULL AND c.deleted_at IS NULL
		UNION ALL
		SELECT c.id, c.room, m.joined_seq, m.left_seq, false, c.history = 'all'
		  FROM postbox.memberships m JOIN postbox.conversations c ON c.id = m.conversation_id
		 WHERE m.user_id = $1 AND m.left_seq IS NOT NULL AND c.deleted_at IS NULL
		UNION ALL
		SELECT c.id, '', 0, 0, true, true FROM postbox.conversations c WHERE c.user_low = $1 AND c.user_high = $1
		 ORDER BY 1, 3`
	err := f.store.archive.query(ctx, look, func(rows *sql.Rows) error {
		p := postbox.Place{SelfID: r.User}
		var stay membership
		if err := rows.Scan(&p.Conversation, &p.Room, &stay.joined, &stay.left, &stay.in, &stay.open); err != nil {
			return err
		}
		if f.places[p.Conversation] == nil {
			f.places[p.Conversation] = &p
		}
		f.places[p.Conversation].Spans = stay.add(f.places[p.Conversation].Spans)
		return nil
	}, r.User)
	f.scopes = []string{userTerm(r.User)}
	for id := range f.places {
		f.scopes = append(f.scopes, conversationTerm(id))
	}
	slices.Sort(f.scopes)
	return away("find the conversations of a user", err)
}

// boundary is the moment that a bound names.
func (f *find) boundary(ctx context.Context, b postbox.Bound, lower bool) (moment, error) {
	if p := f.request.Place; p != nil {
		find := f.store.upperBound
		if lower {
			find = f.store.lowerBound
		}
		seq, err := find(ctx, *p, b)
		if err != nil {
			return moment{}, err
		}
		return f.momentOf(ctx, p.Conversation, seq, lower)
	}
	if byTime(b) {
		m := moment{at: b.Time}
		if lower { // all messages of that moment are excluded, too
			m.conversation, m.seq = 1<<62, lastSeq
		}
		return m, nil
	}
	const look = `
		SELECT m.sent_at, m.conversation_id, m.seq, c.room IS NULL AND $2 IN (c.user_low, c.user_high)
		  FROM postbox.messages m JOIN postbox.conversations c ON c.id = m.conversation_id WHERE m.id = $1`
	var m moment
	mine, seen := false, false
	err := f.store.archive.query(ctx, look, func(rows *sql.Rows) error {
		seen = true
		return rows.Scan(&m.at, &m.conversation, &m.seq, &mine)
	}, b.ID.String(), f.request.User)
	if err != nil {
		return m, away("find a message", err)
	}
	if p := f.places[m.conversation]; !seen || !mine && (p == nil || !p.Shows(m.seq)) {
		return m, errNoMessage(b.ID)
	}
	return m, nil
}

// momentOf is the moment of a seq in a conversation. If there is no message of
// that number, it is that of the one before it or, as a lower bound, after it.
func (f *find) momentOf(ctx context.Context, c postbox.ConversationID, seq postbox.Seq, lower bool) (moment, error) {
	look := `SELECT sent_at FROM postbox.messages WHERE conversation_id = $1 AND seq >= $2 ORDER BY seq LIMIT 1`
	m := always
	if lower {
		look = `SELECT sent_at FROM postbox.messages WHERE conversation_id = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1`
		m = never
	}
	err := f.store.archive.query(ctx, look, func(rows *sql.Rows) error { return rows.Scan(&m.at) }, c, seq)
	m.conversation, m.seq = c, seq
	return m, away("find a message", err)
}

// page is the newest of what was found, as much as is asked for.
func (f *find) page() (messages []*postbox.Message, more bool) {
	size := 0
	for i, h := range f.found {
		if i == f.request.Limit || i > 0 && size >= searchBytes {
			return messages, true
		}
		size += len(h.message.Body)
		messages = append(messages, h.message)
	}
	return messages, false
}

// name fills in who wrote to whom.
func (f *find) name(ctx context.Context, messages []*postbox.Message) error {
	users := make(map[postbox.UserID]postbox.User)
	for _, h := range f.found[:len(messages)] {
		users[h.message.Sender] = ""
		if h.to != 0 {
			users[h.to] = ""
		}
	}
	if err := f.store.nameUsers(ctx, users); err != nil {
		return err
	}
	for _, h := range f.found[:len(messages)] {
		h.message.From, h.message.Room = users[h.message.Sender], h.room
		if h.to != 0 {
			h.message.To = users[h.to]
		}
	}
	return nil
}
