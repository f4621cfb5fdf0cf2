package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
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

// desk is the search operation of the HTTP API, and no more.
type desk struct {
	db     *store.Store
	tokens *auth.Tokens
	spoil  atomic.Bool // what is found
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Text  string
		With  postbox.User
		Limit int
	}
	claims, err := d.tokens.Verify(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), auth.PurposeAccess)
	if err == nil {
		err = json.NewDecoder(r.Body).Decode(&q)
	}
	var u store.User
	if err == nil {
		u, err = d.db.UserByName(r.Context(), claims.User)
	}
	request := postbox.SearchRequest{User: u.ID, Text: q.Text, Limit: q.Limit}
	if err == nil && q.With != "" {
		var place postbox.Place
		place, err = d.db.Place(r.Context(), u.ID, q.With, "")
		request.Place = &place
	}
	var found []*postbox.Message
	if err == nil {
		found, _, err = d.db.Search(r.Context(), request)
	}
	if err != nil || r.URL.Path != "/v1/search" || r.Method != http.MethodPost {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	b := []byte(`{"messages":[`)
	for i, m := range found {
		if i > 0 {
			b = append(b, ',')
		}
		if d.spoil.Load() {
			m.Body = []byte("something else")
		}
		b = postbox.AppendMessage(b, m, m.From == u.Name, time.Now())
	}
	_, _ = w.Write(append(b, "]}"...))
}

// What is filled in is indexed and found; what is found is looked at.
func TestBenchSearch(t *testing.T) {
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
	d := &desk{db: db, tokens: tokens}
	server := httptest.NewServer(d)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for x := db.NewIndexer(); ctx.Err() == nil; {
			_, _ = x.Round(ctx)
		}
	}()
	defer func() { cancel(); <-ended }()

	out := filepath.Join(t.TempDir(), "search.json")
	args := []string{
		"--database-url", url, "--addr", strings.TrimPrefix(server.URL, "http://"), "--users", "3", "--friends", "2", "--messages", "2000",
		"--limit", "10", "--searches", "5", "--warm-up", "0", "--out", out,
	}
	if err := runBench(t.Context(), t, "search", args); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var report bench.SearchReport
	if err := json.Unmarshal(text, &report); err != nil || report.IndexBytes == 0 || report.IndexRate == 0 || len(report.Runs) != 14 {
		t.Errorf("%v: %s", err, text)
	}
	if first := report.Runs[0]; first.Found < 9 {
		t.Errorf("of a frequent word %.1f messages were found", first.Found)
	}
	d.spoil.Store(true)
	if err := runBench(t.Context(), t, "search", args); err == nil || !strings.Contains(err.Error(), "were wrong") {
		t.Errorf("wrong bodies: %v", err)
	}
}
