package web

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"postbox"
	"postbox/auth"
)

// Identity is an authenticated user.
type Identity struct {
	ID    postbox.UserID
	Name  postbox.User
	Admin bool
	Ends  time.Time // when the right ends, with its token; zero: never
}

// Accounts tells who a client is. Authenticate takes a password, or an access
// token with an empty name or the token's, and returns
// postbox.ErrUnauthenticated, or postbox.ErrUnavailable (in the chain) when it
// cannot be told now. From is the IP address that the request comes from.
type Accounts interface {
	Authenticate(ctx context.Context, from, name string, password []byte) (Identity, error)
}

var errNoCredentials = postbox.Errorf(postbox.CodeUnauthenticated, "log in: Authorization: Bearer with an access token, or Basic with user name and password")

// authenticate tells who asks.
func (a *API) authenticate(r *http.Request) (Identity, error) {
	given := r.Header.Values("Authorization")
	if len(given) != 1 {
		return Identity{}, errNoCredentials
	}
	name, password, basic := r.BasicAuth()
	if !basic {
		scheme, token, _ := strings.Cut(given[0], " ")
		token = strings.Trim(token, " ")
		if !strings.EqualFold(scheme, "Bearer") || !auth.LooksLikeToken(token) {
			return Identity{}, errNoCredentials
		}
		name, password = "", token
	}
	who, err := a.known.authenticate(r.Context(), a.o.Proxies.From(r), given[0], name, password)
	if known := postbox.AsError(err); err != nil && statuses[known.Code] == 0 {
		// A reason that only MQTT tells apart: the account is disabled.
		err = postbox.Errorf(postbox.CodeUnauthenticated, "%s", known.Message)
	}
	return who, err
}

// challenge tells how to log in. A browser shows a dialogue of its own for
// Basic: what a page's script asks for gets the other challenge alone.
func challenge(h http.Header, r *http.Request) {
	h.Add("WWW-Authenticate", `Bearer realm="postbox"`)
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode == "" || mode == "navigate" {
		h.Add("WWW-Authenticate", `Basic realm="postbox", charset="UTF-8"`)
	}
}

const (
	// identityLife is how long an authentication is good without asking again.
	// What ends it earlier comes as a Kick.
	identityLife = 5 * time.Second
	// maxIdentities bounds how many are remembered.
	maxIdentities = 10_000
)

// identities remembers for a moment who was authenticated with what, so that
// each request of a busy client does not ask the database. Of the credentials it
// keeps a digest only.
type identities struct {
	accounts Accounts

	mu      sync.Mutex // guards all below
	known   map[[sha256.Size]byte]remembered
	forgets int // grows with each forget: what was asked for before is not remembered
}

type remembered struct {
	Identity
	until time.Time
}

func (i *identities) authenticate(ctx context.Context, from, header, name, password string) (Identity, error) {
	digest := sha256.Sum256([]byte(header))
	now := time.Now()
	i.mu.Lock()
	k, found := i.known[digest]
	forgets := i.forgets
	i.mu.Unlock()
	if found && now.Before(k.until) {
		return k.Identity, nil
	}
	who, err := i.accounts.Authenticate(ctx, from, name, []byte(password))
	if err != nil {
		return Identity{}, err
	}
	until := now.Add(identityLife)
	if !who.Ends.IsZero() && who.Ends.Before(until) {
		until = who.Ends
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.forgets == forgets {
		i.remember(digest, remembered{who, until}, now)
	}
	return who, nil
}

func (i *identities) remember(digest [sha256.Size]byte, r remembered, now time.Time) {
	if i.known == nil {
		i.known = make(map[[sha256.Size]byte]remembered)
	}
	if len(i.known) >= maxIdentities {
		for d, old := range i.known {
			if !now.Before(old.until) {
				delete(i.known, d)
			}
		}
		if len(i.known) >= maxIdentities {
			clear(i.known)
		}
	}
	i.known[digest] = r
}

// forget ends what is remembered of a user.
func (i *identities) forget(user postbox.UserID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forgets++
	for d, r := range i.known {
		if r.ID == user {
			delete(i.known, d)
		}
	}
}
