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
	// Since and Login are those of api.Shown.
	Since time.Time
	Login postbox.LoginID
}

// Accounts tells who a client is. Authenticate takes a password, or an access
// token with an empty name or the token's, and returns
// postbox.ErrUnauthenticated, or postbox.ErrUnavailable (in the chain) when it
// cannot be told now. From is the IP address that the request comes from.
type Accounts interface {
	Authenticate(ctx context.Context, from, name string, password []byte) (Identity, error)
	// Stream is Authenticate for a token that is for the stream alone.
	Stream(ctx context.Context, token string) (Identity, error)
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
	from := a.o.Proxies.From(r)
	return plainly(a.known.authenticate(r.Context(), given[0], func(ctx context.Context) (Identity, error) {
		return a.o.Accounts.Authenticate(ctx, from, name, []byte(password))
	}))
}

// authenticateStream tells who asks for the stream: by a token in the address,
// where no header can be sent, or like all others.
func (a *API) authenticateStream(r *http.Request) (Identity, error) {
	given, is := r.URL.Query()["token"]
	switch {
	case !is:
		return a.authenticate(r)
	case len(given) > 1 || r.Header.Get("Authorization") != "":
		return Identity{}, postbox.Errorf(postbox.CodeInvalid, "give one token: in the header Authorization, or as the field token")
	case !auth.LooksLikeToken(given[0]):
		return Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the field token is no token: stream_token makes one")
	}
	return plainly(a.known.authenticate(r.Context(), "token "+given[0], func(ctx context.Context) (Identity, error) {
		return a.o.Accounts.Stream(ctx, given[0])
	}))
}

// plainly puts a code that HTTP has in the place of one that it has not.
func plainly(who Identity, err error) (Identity, error) {
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
	mu      sync.Mutex // guards all below
	known   map[[sha256.Size]byte]remembered
	forgets int // grows with each forget: what was asked for before is not remembered
}

type remembered struct {
	Identity
	until time.Time
}

// authenticate asks, unless it remembers what was shown.
func (i *identities) authenticate(ctx context.Context, shown string, ask func(context.Context) (Identity, error)) (Identity, error) {
	digest := sha256.Sum256([]byte(shown))
	now := time.Now()
	i.mu.Lock()
	k, found := i.known[digest]
	forgets := i.forgets
	i.mu.Unlock()
	if found && now.Before(k.until) {
		return k.Identity, nil
	}
	who, err := ask(ctx)
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
