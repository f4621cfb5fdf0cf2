package proof

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbox/auth"
)

// refresher is an app that renews its tokens again and again, in two tabs at once, over
// lines that are cut.
type refresher struct {
	t      *testing.T
	url    string // of the API
	client *http.Client
	token  string
	random *rand.Rand

	renewed, cut, gone int // answers; requests cut off; requests that the server did not answer
}

// ask presents a token; done is false when the answer was lost.
func (r *refresher) ask(ctx context.Context, token string) (next string, status int, done bool) {
	body := fmt.Sprintf(`{"refresh_token":%q}`, token)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/refresh", bytes.NewReader([]byte(body)))
	if err != nil {
		return "", 0, false
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := r.client.Do(request)
	if err != nil {
		return "", 0, false
	}
	defer answer.Body.Close()
	var reply struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&reply); err != nil {
		return "", 0, false
	}
	return reply.Refresh, answer.StatusCode, true
}

// round renews the tokens once, however often that must be tried.
func (r *refresher) round() (status int) {
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		if r.random.IntN(2) == 0 { // a line that is cut, somewhere on the way
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.random.IntN(8_000))*time.Microsecond)
			_, _, done := r.ask(ctx, r.token)
			cancel()
			if !done {
				r.cut++
			}
		}
		var other string
		var wg sync.WaitGroup
		wg.Go(func() { other, _, _ = r.ask(context.Background(), r.token) })
		next, status, done := r.ask(context.Background(), r.token)
		wg.Wait()
		switch {
		case !done || status == http.StatusServiceUnavailable:
			r.gone++
			time.Sleep(20 * time.Millisecond)
			continue
		case status != http.StatusOK:
			return status
		case other != "" && other != next:
			r.t.Error("two tabs have different successors of one token")
		}
		r.token = next
		r.renewed++
		return status
	}
	return 0
}

// The server is killed again and again while apps renew their tokens and lines are cut:
// nobody is locked out by an answer that was lost, and of each login one token counts.
func TestRefreshUnderKills(t *testing.T) {
	t.Parallel()
	kills, apps := 3, 6
	if soak {
		kills = 30
	}
	s := StartServer(t, ServerOptions{Env: []string{"POSTBOX_LIMITS_CONNECT_RATE=0"}})
	s.AddUser("alice", "alice's secret")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all []*refresher
	var stop atomic.Bool
	var wg sync.WaitGroup
	var rounds atomic.Int64
	for n := range apps {
		_, reply, err := apiReply(s, "", "login", `{"user":"alice","password":"alice's secret"}`)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 4}
		defer transport.CloseIdleConnections()
		r := &refresher{
			t: t, url: "http://" + s.HTTP, client: &http.Client{Transport: transport, Timeout: patience}, token: fmt.Sprint(reply["refresh_token"]),
			random: rand.New(rand.NewPCG(seed, uint64(n))),
		}
		all = append(all, r)
		wg.Go(func() {
			for !stop.Load() {
				if status := r.round(); status != http.StatusOK {
					t.Errorf("after %d renewals: %d, with its last token", r.renewed, status)
					return
				}
				rounds.Add(1)
			}
		})
	}
	for range kills {
		before := rounds.Load()
		for limit := time.Now().Add(patience); rounds.Load() < before+30 && !t.Failed() && time.Now().Before(limit); {
			time.Sleep(5 * time.Millisecond)
		}
		if t.Failed() {
			break
		}
		s.Kill9()
		s.Restart()
	}
	stop.Store(true)
	wg.Wait()
	renewed, cut, gone := 0, 0, 0
	db := s.DB()
	defer db.Close()
	for _, r := range all {
		renewed, cut, gone = renewed+r.renewed, cut+r.cut, gone+r.gone
		mustCount(t, db, r.token)
	}
	var logins int
	if err := db.QueryRow(`SELECT count(*) FROM postbox.logins`).Scan(&logins); err != nil || logins != apps {
		t.Errorf("%d logins of %d apps, %v", logins, apps, err)
	}
	if cut < 10 || gone < kills {
		t.Errorf("%d requests were cut off and %d not answered: that is no test", cut, gone)
	}
	t.Logf("%d renewals, %d requests cut off, %d not answered, %d kills", renewed, cut, gone, kills)
}

// mustCount checks that a token is the one of its login that counts.
func mustCount(t *testing.T, db *sql.DB, token string) {
	t.Helper()
	parsed, err := auth.ParseRefreshToken(token)
	if err != nil {
		t.Error(err)
		return
	}
	var hash []byte
	if err := db.QueryRow(`SELECT token_hash FROM postbox.logins WHERE family = $1`, parsed.Family()).Scan(&hash); err != nil || !bytes.Equal(hash, parsed.Hash()) {
		t.Errorf("the last token that an app was given is not the one that counts (%v)", err)
	}
}
