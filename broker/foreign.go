package broker

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"postbox/auth"
	"postbox/configs"
)

const (
	// keysTimeout is how long another issuer may take for its keys.
	keysTimeout = 5 * time.Second
	// maxKeys bounds a key set, in bytes.
	maxKeys = 1 << 20
)

// issuers verifies the tokens of all who may issue them: bearers.
type issuers struct {
	own     *auth.Tokens
	foreign *auth.Foreign // nil: there is nobody else
}

// VerifyAccess implements bearers.
func (i issuers) VerifyAccess(ctx context.Context, token string) (auth.Claims, error) {
	if i.foreign != nil && i.foreign.Issued(token) {
		return i.foreign.Verify(ctx, token)
	}
	return i.own.VerifyAccess(ctx, token)
}

// newForeign makes what verifies the tokens of another issuer; nil if the
// configuration names none.
func newForeign(c configs.Issuer) (*auth.Foreign, error) {
	if c.Name == "" {
		return nil, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // it is asked once in minutes
	if c.CAFile != "" {
		pool, err := readAuthorities("issuer.ca_file", c.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	client := &http.Client{Transport: transport, Timeout: keysTimeout}
	f, err := auth.NewForeign(auth.ForeignOptions{
		Issuer: c.Name, Audience: c.Audience, Algorithms: c.Algorithms, UserClaim: c.UserClaim,
		Fetch: func(ctx context.Context) ([]byte, error) { return fetchKeys(ctx, client, c.KeysURL) },
	})
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	return f, nil
}

func fetchKeys(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeys+1))
	if len(text) > maxKeys {
		return nil, fmt.Errorf("what %s answers has more than %d bytes", url, maxKeys)
	}
	return text, err
}
