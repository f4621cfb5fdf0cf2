package store_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postbox"
	"postbox/store"
)

// seeker looks for words in what a librarian keeps.
type seeker struct {
	*librarian
	indexer *store.Indexer
	killed  int  // rounds of the indexer that were cut off
	sees    bool // also what is not in the index yet
}

var (
	seekerWords = []string{"tra", "train", "trainer", "to", "on", "one", "Zug", "ok"}
	seekerChars = []string{"天", "气", "好", "京"}
)

func newSeeker(t *testing.T) *seeker {
	s := &seeker{librarian: newLibrarian(t)}
	s.text = func() string {
		var words []string
		for range 1 + s.rand.IntN(4) {
			words = append(words, s.word())
		}
		return strings.Join(words, " ")
	}
	s.indexer = s.store.NewIndexer()
	return s
}

func (s *seeker) word() string {
	if s.rand.IntN(3) > 0 {
		return seekerWords[s.rand.IntN(len(seekerWords))]
	}
	run := ""
	for range 1 + s.rand.IntN(4) {
		run += seekerChars[s.rand.IntN(len(seekerChars))]
	}
	return run
}

// has is the plainest form of what a search must do.
func has(body, text string) bool {
	words := strings.Fields(strings.ToLower(text))
	for _, word := range words {
		fits := func(w string) bool {
			switch beginning, star := strings.CutSuffix(word, "*"); {
			case word[0] >= 0x80:
				return w[0] >= 0x80 && strings.Contains(w, word)
			case star && len(beginning) >= 3:
				return strings.HasPrefix(w, beginning)
			default:
				return w == beginning
			}
		}
		if !slices.ContainsFunc(strings.Fields(strings.ToLower(body)), fits) {
			return false
		}
	}
	return true
}

// round runs the indexer once; sometimes it is cut off.
func (s *seeker) round(mayFail bool) bool {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	if mayFail && s.rand.IntN(3) == 0 {
		defer time.AfterFunc(time.Duration(s.rand.IntN(4000))*time.Microsecond, cancel).Stop()
	}
	more, err := s.indexer.Round(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.t.Fatal(err)
		}
		s.killed++
		return true
	}
	return more
}

// drain runs the indexer until nothing waits for it. A round does nothing while
// PostgreSQL has not noticed yet that the one before was cut off.
func (s *seeker) drain() {
	s.t.Helper()
	const waiting = `SELECT (SELECT count(*) FROM postbox.search_queue) + (SELECT count(*) FROM postbox.search_state WHERE fill_after IS NOT NULL)`
	for end := time.Now().Add(20 * time.Second); s.round(false) || s.number(waiting) > 0; {
		if time.Now().After(end) {
			s.t.Fatalf("the indexer leaves %d rows of the queue", s.number(waiting))
		}
	}
}

// leap makes the index as if many rows had come and gone: so there are windows of
// every size between those that have something.
func (s *seeker) leap() {
	s.t.Helper()
	n := 1 << s.rand.IntN(20)
	for _, part := range []string{"", "fill_"} {
		s.exec(fmt.Sprintf(`
			WITH was AS (SELECT %[1]snext AS row, %[1]snewest AS newest FROM postbox.search_state),
			windows AS (
				INSERT INTO postbox.search_windows (id, newest, oldest)
				SELECT i, was.newest, 'infinity' FROM was, generate_series(was.row >> 12, (was.row + %[2]d) >> 12) AS i ON CONFLICT DO NOTHING)
			UPDATE postbox.search_state SET %[1]snext = %[1]snext + %[2]d`, part, n))
	}
}

// check compares a search of a user with the model; while the indexer is behind,
// what is found must be right, and complete as far as it is in the user's inbox, if
// that is looked at and the index is not filled anew.
func (s *seeker) check(complete bool) {
	s.t.Helper()
	user := s.users[s.rand.IntN(len(s.users))]
	r := postbox.SearchRequest{User: s.world.ids[user], Text: s.word(), Limit: 1 + s.rand.IntN(8)}
	if s.rand.IntN(2) == 0 {
		r.Text = s.word() + " " + r.Text
	}
	if last := r.Text[len(r.Text)-1]; last < 0x80 && s.rand.IntN(3) == 0 {
		r.Text += "*"
	}
	if s.rand.IntN(3) == 0 {
		r.From = s.users[s.rand.IntN(len(s.users))]
	}
	shelves := make([]*shelf, 0, len(s.ids))
	for _, id := range s.ids {
		shelves = append(shelves, s.rooms[id])
	}
	if one := s.pick(); s.rand.IntN(2) == 0 {
		if _, in := one.span(user); in {
			p := s.placeOf(one, user)
			r.Place, shelves = &p, []*shelf{one}
		}
	}
	var want []*postbox.Message
	for _, shelf := range shelves {
		for _, v := range shelf.shows(user) {
			if !v.retracted && !v.expired && has(v.body, r.Text) && (r.From == "" || v.m.From == r.From) {
				want = append(want, v.m)
			}
		}
	}
	slices.SortFunc(want, func(a, b *postbox.Message) int {
		return cmp.Or(b.SentAt.Compare(a.SentAt), cmp.Compare(b.Conversation, a.Conversation), cmp.Compare(b.Seq, a.Seq))
	})
	if len(want) > 0 && s.rand.IntN(3) == 0 {
		i := s.rand.IntN(len(want))
		switch s.rand.IntN(3) {
		case 0:
			r.After = byID(want[i])
			want = want[:i]
		case 1:
			r.After = byTime(want[i].SentAt)
			for i > 0 && want[i-1].SentAt.Equal(r.After.Time) {
				i--
			}
			want = want[:i]
		case 2:
			r.Before = byTime(want[i].SentAt)
			for i < len(want) && want[i].SentAt.Equal(r.Before.Time) {
				i++
			}
			want = want[i:]
		}
	}
	var got []*postbox.Message
	for more := true; more; r.Before = s.boundAt(r, got[len(got)-1]) {
		var page []*postbox.Message
		var err error
		if page, more, err = s.store.Search(s.t.Context(), r); err != nil {
			s.t.Fatalf("%+v: %v", r, err)
		}
		if len(page) > r.Limit || more && len(page) < r.Limit {
			s.t.Fatalf("%+v: a page of %d, more: %v", r, len(page), more)
		}
		if got = append(got, page...); len(got) == 0 {
			break
		}
	}
	if complete && len(got) != len(want) {
		s.t.Fatalf("%s: %+v: %d messages, want %d", user, r, len(got), len(want))
	}
	whole := s.sees && s.number(`SELECT count(*) FROM postbox.search_state WHERE fill_after IS NULL`) == 1
	for _, m := range want {
		if whole && s.hasGot(user, m) && !slices.ContainsFunc(got, func(g *postbox.Message) bool { return g.ID == m.ID }) {
			s.t.Fatalf("%s: %+v: %+v is not found, which is in the inbox", user, r, m)
		}
	}
	last := -1
	for i, m := range got {
		j := slices.IndexFunc(want, func(w *postbox.Message) bool { return w.ID == m.ID })
		if j <= last || complete && j != i || m.From != want[j].From || m.To != want[j].To || m.Room != want[j].Room {
			s.t.Fatalf("%s: %+v: %d is %+v, in the model %d of %d", user, r, i, m, j, len(want))
		}
		if last = j; !has(string(m.Body), r.Text) {
			s.t.Fatalf("%s: %q found %q", user, r.Text, m.Body)
		}
	}
}

// hasGot reports whether a message came to a user's inbox.
func (s *seeker) hasGot(user postbox.User, m *postbox.Message) bool {
	return slices.ContainsFunc(s.rooms[m.Conversation].messages, func(v *volume) bool { return v.m == m && v.numbers[user] > 0 })
}

// boundAt is a bound behind which the next page begins.
func (s *seeker) boundAt(r postbox.SearchRequest, m *postbox.Message) postbox.Bound {
	if r.Place != nil && s.rand.IntN(2) == 0 {
		return bySeq(m.Seq)
	}
	return byID(m)
}

// Whatever is sent, edited, retracted, expires or is deleted, while the indexer is
// cut off again and again and the index is filled anew: a search finds what the
// user may read and has the words now, all of it and nothing else.
func TestSearchAgainstModel(t *testing.T) {
	t.Parallel()
	searchAgainstModel(t, false)
}

// The same where a search sees what is not in the index yet: it need not wait for it.
func TestSearchBeforeTheIndexAgainstModel(t *testing.T) {
	t.Parallel()
	searchAgainstModel(t, true)
}

func searchAgainstModel(t *testing.T, sees bool) {
	s := newSeeker(t)
	if s.sees = sees; sees {
		s.seesAll()
	}
	steps := 250
	if os.Getenv("POSTBOX_TEST_SOAK") != "" {
		steps = 20_000
	}
	for i := range steps {
		s.step()
		if s.rand.IntN(3) == 0 {
			s.round(true)
		}
		switch s.rand.IntN(12) {
		case 0, 1, 2:
			s.drain()
			for range 4 {
				s.check(true)
			}
		case 3, 4:
			s.check(false)
		case 5:
			s.leap()
		case 6:
			if i%5 == 0 {
				s.exec(`SELECT postbox.search_rebuild()`)
			}
		}
	}
	s.drain()
	for range 50 {
		s.check(true)
	}
	if n := s.number(`
		SELECT count(*) FROM postbox.search s
		 WHERE NOT EXISTS (SELECT FROM postbox.messages m WHERE m.conversation_id = s.conversation_id AND m.seq = s.seq
		        AND m.retracted_at IS NULL AND coalesce(m.expires_at > now(), true))`); n != 0 {
		t.Errorf("%d messages that are gone have left terms", n)
	}
	rows := s.number(`SELECT count(*) FROM postbox.search`)
	t.Logf("%d messages of %d are in the index; the indexer was cut off %d times", rows, s.number(`SELECT count(*) FROM postbox.messages`), s.killed)
	if rows < steps/4 || s.killed < steps/100 {
		t.Errorf("that shows little: %d rows, %d cuts", rows, s.killed)
	}
}
