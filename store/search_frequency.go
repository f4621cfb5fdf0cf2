package store

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"time"
)

// frequencies is what PostgreSQL knows of how often terms are in the search
// index: the frequent ones, from its last ANALYZE.
type frequencies struct {
	mu    sync.Mutex // guards the fields below
	known map[string]float64
	least float64 // no other term is more frequent
	read  time.Time
}

// frequenciesAge is how long they are remembered.
const frequenciesAge = time.Minute

// rate is about what part of all rows have one of the scopes, if there are any,
// and all of the terms, rather more than less; false: nothing is known.
func (f *frequencies) rate(ctx context.Context, a *statements, scopes, terms []string) (float64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.read) > frequenciesAge {
		f.read = now
		f.load(ctx, a)
	}
	if f.known == nil {
		return 0, false
	}
	within := 0.0
	for _, s := range scopes {
		least := 1.0
		for term := range strings.SplitSeq(s, " & ") {
			least = min(least, f.of(term))
		}
		within += least
	}
	rate := min(within, 1)
	if len(scopes) == 0 {
		rate = 1
	}
	for _, t := range terms {
		if strings.HasSuffix(t, ":*") {
			continue // it may stand for any number of terms
		}
		rate *= f.of(strings.Trim(t, "'"))
	}
	return rate, true
}

func (f *frequencies) of(term string) float64 {
	if n, ok := f.known[term]; ok {
		return n
	}
	return f.least
}

// load reads them; what was known before stays if that fails.
func (f *frequencies) load(ctx context.Context, a *statements) {
	const look = `
		SELECT u.term, u.frequency
		  FROM pg_stats s, unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs::float8[]) AS u (term, frequency)
		 WHERE s.schemaname = 'postbox' AND s.tablename = 'search_terms' AND u.term IS NOT NULL`
	known, least := make(map[string]float64), 1.0
	err := a.query(ctx, look, func(rows *sql.Rows) error {
		var term string
		var frequency float64
		err := rows.Scan(&term, &frequency)
		known[term], least = frequency, min(least, frequency)
		return err
	})
	if err == nil && len(known) > 0 {
		f.known, f.least = known, least
	}
}
