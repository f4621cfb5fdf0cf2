package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/internal/bench"
	"postbox/internal/pgtest"
	"postbox/store"
)

// shop is the history operation of the HTTP API, and no more.
type shop struct {
	db     *store.Store
	tokens *auth.Tokens
	spoil  atomic.Bool // the last message's body
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		With   postbox.User
		Before postbox.Seq
		Limit  int
	}
	claims, err := s.tokens.Verify(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), auth.PurposeAccess)
	if err == nil {
		err = json.NewDecoder(r.Body).Decode(&q)
	}
	if err != nil || r.URL.Path != "/v1/history" || r.Method != http.MethodPost {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	u, err := s.db.UserByName(r.Context(), claims.User)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	place, err := s.db.Place(r.Context(), u.ID, q.With, "")
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	page, err := s.db.Page(r.Context(), place, postbox.PageRequest{Before: postbox.Bound{Seq: q.Before, Set: q.Before > 0}, Limit: q.Limit})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b := []byte(`{"messages":[`)
	for i, m := range page.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		if s.spoil.Load() && i == len(page.Messages)-1 {
			m.Body = append([]byte(nil), "something else"...)
		}
		b = postbox.AppendMessage(b, m, m.From == u.Name, time.Now())
	}
	flags, _ := json.Marshal(map[string]bool{"has_before": page.HasBefore, "has_after": page.HasAfter})
	b = append(append(b, "],"...), flags[1:]...)
	_, _ = w.Write(b)
}

// What is filled in is what a server would have stored; what is read is checked.
func TestBenchHistory(t *testing.T) {
	t.Parallel()
	url := pgtest.NewCluster(t).URL()
	db, err := store.Open(store.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tokens, err := broker.OpenTokens(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{db: db, tokens: tokens}
	server := httptest.NewServer(s)
	defer server.Close()

	out := filepath.Join(t.TempDir(), "history.json")
	measure := func(messages string) error {
		t.Helper()
		return runBench(t.Context(), t, "history", []string{
			"--database-url", url, "--addr", strings.TrimPrefix(server.URL, "http://"), "--users", "5", "--friends", "2", "--messages", messages,
			"--limit", "10", "--clients", "1,3", "--duration", "300ms", "--warm-up", "0s", "--out", out,
		})
	}
	if err := measure("1500"); err != nil {
		t.Fatal(err)
	}
	if err := measure("1600"); err != nil { // adds what is missing
		t.Fatal(err)
	}
	for what, query := range map[string]string{
		"messages": `SELECT count(*) <> 1600 FROM postbox.messages`,
		"a hole in a conversation": `SELECT EXISTS (SELECT FROM (SELECT seq, row_number() OVER (PARTITION BY conversation_id ORDER BY seq) AS n
			FROM postbox.messages) m WHERE seq <> n)`,
		"a hole in an inbox": `SELECT EXISTS (SELECT FROM (SELECT inbox_seq, row_number() OVER (PARTITION BY user_id ORDER BY inbox_seq) AS n
			FROM postbox.inbox_entries) i WHERE inbox_seq <> n)`,
		"a number beside its entry": `SELECT EXISTS (SELECT FROM postbox.messages m WHERE 2 <> (SELECT count(*) FROM postbox.inbox_entries i
			WHERE i.conversation_id = m.conversation_id AND i.seq = m.seq
			  AND i.inbox_seq = CASE WHEN i.user_id = m.sender_id THEN m.sender_inbox_seq ELSE m.peer_inbox_seq END))`,
	} {
		var wrong bool
		if err := db.DB().GetContext(t.Context(), &wrong, query); err != nil || wrong {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.spoil.Store(true)
	if err := measure("1600"); err == nil || !strings.Contains(err.Error(), "were wrong") {
		t.Errorf("wrong bodies: %v", err)
	}
	server.Close()
	if err := measure("1600"); err == nil {
		t.Error("nobody answers, and it is well")
	}
}

// runBench runs a command as parsed from its flags.
func runBench(ctx context.Context, t *testing.T, command string, args []string) error {
	t.Helper()
	var stderr strings.Builder
	code := run(append([]string{"bench", command}, args...), strings.NewReader(""), io.Discard, &stderr)
	if code != exitDone {
		return &failed{code, stderr.String()}
	}
	return ctx.Err()
}

type failed struct {
	code int
	text string
}

func (f *failed) Error() string { return f.text }

func TestHistoryBodiesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seq := range 1000 {
		b := bench.HistoryBody("a", "b", seq)
		if seen[b] || strings.ContainsAny(b, `"\`) {
			t.Errorf("%d: %q", seq, b)
		}
		seen[b] = true
	}
}
