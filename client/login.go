package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postbox"
)

// LoginOptions say how a Login gets its tokens. URL is required, and a Password
// or a RefreshToken.
type LoginOptions struct {
	// URL is the server's HTTP address: https://host or http://host:8080.
	URL string
	// User and Password are those of the account. The password is used when there
	// is no refresh token, or it has ended.
	User     postbox.User
	Password string
	// RefreshToken goes on with an earlier login.
	RefreshToken string
	// Device is what the login is called. It ends when the device of this name is
	// revoked.
	Device string
	// Keep is told each new refresh token before the access token is used, so that
	// the program can go on with it after a restart. A refresh token is used once;
	// an error of Keep is that of Token. A Token whose ctx ends while it renews has
	// returned by the time Keep is called.
	Keep func(refreshToken string) error
	// HTTP makes the requests, and follows no redirects. Nil means one of its own.
	HTTP *http.Client
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Login is a sign-in whose access token renews itself, over HTTP. Its methods
// may be called at once by any number of goroutines.
type Login struct {
	o    LoginOptions
	turn chan struct{} // holds one value while somebody uses what follows

	access  string
	until   time.Time // when access is renewed
	refresh string
}

// refreshTimeout is how long a refresh may take. The server answers the same token
// again as long as what it gave for it was not used: the next Token asks once more.
const refreshTimeout = 20 * time.Second

// maxGrant is the most bytes that are read of an answer.
const maxGrant = 64 << 10

// NewLogin checks the options. Nothing is asked before the first Token.
func NewLogin(o LoginOptions) (*Login, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, postbox.Errorf(postbox.CodeInvalid, "the URL is not of a server's HTTP: write https://host or http://host:8080")
	}
	if o.RefreshToken == "" && (o.Password == "" || o.User == "") {
		return nil, postbox.Errorf(postbox.CodeInvalid, "there is nothing to log in with: give User and Password, or a RefreshToken")
	}
	requests := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	if o.HTTP != nil {
		requests = *o.HTTP
	}
	requests.CheckRedirect = stay
	o.HTTP = &requests
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Login{o: o, turn: make(chan struct{}, 1), refresh: o.RefreshToken}, nil
}

// Token returns an access token that counts for a while yet: at least a tenth of
// its life. It has the form of Options.Credentials: refused is a token that the
// server does not take any more, or empty. A refresh that was begun goes on for at
// most 20 s after ctx has ended, to be kept. The errors are the server's:
// ErrUnauthenticated when the login has ended and there is no password.
func (l *Login) Token(ctx context.Context, refused string) (string, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if l.access != "" && l.access != refused && l.o.Now().Before(l.until) {
		defer func() { <-l.turn }()
		return l.access, nil
	}
	// The server has spent a refresh token by the time its answer is on the way. So
	// that what comes in its place is not lost, ctx ends the waiting only.
	type result struct {
		access string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		access, err := l.renew(ctx)
		<-l.turn
		done <- result{access, err}
	}()
	select {
	case r := <-done:
		return r.access, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// renew gets an access token by the refresh token, or else by the password.
func (l *Login) renew(ctx context.Context) (string, error) {
	if l.refresh != "" {
		longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
		defer cancel()
		err := l.get(longer, "refresh", map[string]string{"refresh_token": l.refresh})
		if err == nil || l.o.Password == "" || !errors.Is(err, postbox.ErrUnauthenticated) {
			return l.access, err
		}
		l.refresh = ""
	}
	request := map[string]string{"user": string(l.o.User), "password": l.o.Password}
	if l.o.Device != "" {
		request["device"] = l.o.Device
	}
	err := l.get(ctx, "login", request)
	return l.access, err
}

// get asks for a pair of tokens. After an error there is no access token.
func (l *Login) get(ctx context.Context, operation string, request map[string]string) error {
	l.access = ""
	body, err := marshal(request)
	if err != nil {
		return err
	}
	target := strings.TrimSuffix(l.o.URL, "/") + "/v1/" + operation
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := l.o.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := elsewhere(l.o.URL, answer); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxGrant))
	if err != nil {
		return fmt.Errorf("%s at %s: %w", operation, l.o.URL, err)
	}
	_, said, err := readReply(data)
	if err == nil && said.err != nil {
		return fmt.Errorf("%s at %s: %w", operation, l.o.URL, said.err)
	}
	var grant struct {
		Access  string `json:"access_token"`
		Life    int64  `json:"expires_in"`
		Refresh string `json:"refresh_token"`
	}
	if err != nil || answer.StatusCode/100 != 2 || json.Unmarshal(data, &grant) != nil || grant.Access == "" {
		return fmt.Errorf("%s at %s: the answer with status %d is not one of Postbox", operation, l.o.URL, answer.StatusCode)
	}
	l.refresh = grant.Refresh
	if l.o.Keep != nil {
		if err := l.o.Keep(grant.Refresh); err != nil {
			return fmt.Errorf("keep the refresh token: %w", err)
		}
	}
	life := time.Duration(grant.Life) * time.Second
	l.access, l.until = grant.Access, l.o.Now().Add(life-life/10)
	return nil
}
