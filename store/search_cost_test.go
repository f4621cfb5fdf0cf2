package store

import (
	"fmt"
	"strings"
	"testing"

	"postbox"
)

// blocksOf runs a statement as a search does, and counts the blocks that
// PostgreSQL touches for it.
func (l *library) blocksOf(f *find, windows []string, low int64, limit int) *plan {
	l.t.Helper()
	return l.explainOn(l.s.finder, readHits, fmt.Sprintf("%s, 0, 'infinity', 0, 0, '-infinity', 0, 0, %d, %d, %v, %d",
		quoteLiteral(f.question(windows)), limit, low>>smallWindow-1, low >= liveFrom, 2*searchBytes))
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// A frequent word costs no more where it is in 50,000 messages than where it is
// in few: a search reads the newest ones that it needs. A rare word is found in all
// of the index at once. Both whatever the planner knows of the tables.
func TestSearchCostsTheSameHoweverMuchThereIs(t *testing.T) {
	t.Parallel()
	const n, limit = 50_000, 50
	l := newLibrary(t, n)
	l.exec(`UPDATE postbox.messages SET body = convert_to('rare ' || seq, 'UTF8') WHERE seq % 3000 = 7`)
	l.exec(`SELECT postbox.search_rebuild()`)
	x := l.s.NewIndexer()
	for more := true; more; {
		var err error
		if more, err = x.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.checkPages(t)
	for _, known := range []string{"nothing", "everything"} {
		if known == "everything" {
			l.exec(`ANALYZE postbox.messages, postbox.search, postbox.search_windows`)
			l.checkFrequencies(n)
		}
		for _, where := range []string{"conversation", "everywhere"} {
			for text, most := range map[string]int{"word": 1200, "rare": 1200, "rare word": 800, "nowhere": 100} {
				f := &find{store: l.s, request: &postbox.SearchRequest{User: l.user, Text: text, Limit: limit}}
				if where == "conversation" {
					f.request.Place = &l.bob
				}
				f.wanted, _ = wantedOf(text)
				f.terms = f.wanted.terms()
				if err := f.prepare(t.Context()); err != nil {
					t.Fatal(err)
				}
				var windows []string
				low := int64(-1)
				switch {
				case text != "word": // all of it
				case where == "conversation":
					for w := range int64(firstInPlace >> placeWindow) {
						windows = append(windows, placeTerm(l.bob.Conversation, 30_000>>placeWindow-w-1))
					}
				default:
					low = n>>smallWindow<<smallWindow - 1<<smallWindow
					windows = windowsOf(low, n)
				}
				p := l.blocksOf(f, windows, low, 2*limit)
				t.Logf("the planner knows %s: %d blocks for %q, %s", known, p.blocks(), text, where)
				if p.blocks() > most {
					t.Errorf("the planner knows %s: %d blocks for %q, %s, at most %d are expected\n%s", known, p.blocks(), text, where, most, p.text)
				}
				if !strings.Contains(p.text, `"search_terms"`) {
					t.Errorf("%q is not found by the index: %s", text, p.text)
				}
			}
		}
	}
}

// checkFrequencies asks what PostgreSQL has found out about terms of n messages.
func (l *library) checkFrequencies(n float64) {
	l.t.Helper()
	finder, err := openFinder(l.s) // one whose statements are not ended by those that are explained
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = finder.close() }()
	for term, want := range map[string]float64{"word": 1, placeTerm(l.bob.Conversation, 5): 256 / n} {
		var f frequencies
		rate, known := f.rate(l.t.Context(), finder, nil, []string{quoteTerm(term)})
		if !known || rate < want/2 || rate > 2*want {
			l.t.Errorf("PostgreSQL says that %v of all rows have %q; it should be %v", rate, term, want)
		}
	}
}

// checkPages goes through the conversation by pages of a word that every message
// has: nothing is missing, and nothing comes twice.
func (l *library) checkPages(t *testing.T) {
	t.Helper()
	var want []postbox.Seq
	err := l.s.db.SelectContext(t.Context(), &want, `SELECT seq FROM postbox.messages WHERE conversation_id = $1 AND seq % 3000 <> 7 ORDER BY seq DESC`, l.bob.Conversation)
	if err != nil {
		t.Fatal(err)
	}
	for _, begin := range []int{0, 20_000} {
		r := postbox.SearchRequest{User: l.user, Place: &l.bob, Text: "word", Limit: 450}
		if begin > 0 {
			r.Before = postbox.Bound{Seq: want[begin-1], Set: true}
		}
		for i := begin; i < begin+4000; {
			page, more, err := l.s.Search(t.Context(), r)
			if err != nil || len(page) != r.Limit || !more {
				t.Fatalf("a page of %d, %v", len(page), err)
			}
			for _, m := range page {
				if m.Seq != want[i] {
					t.Fatalf("%d is %d, want %d", i, m.Seq, want[i])
				}
				i++
			}
			r.Before = postbox.Bound{Seq: want[i-1], Set: true}
		}
	}
}
