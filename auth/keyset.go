package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"postbox"
)

const (
	// keysLife is after how long keys are fetched again, so that one which its
	// issuer has withdrawn ends here, too.
	keysLife = 5 * time.Minute
	// keysPause is how long nothing is fetched after a try: strangers choose the
	// key that a token names.
	keysPause = 10 * time.Second
	// keysPatience is how long a token waits for its key.
	keysPatience = 5 * time.Second
)

// keySet holds the keys of another issuer. They are fetched when a token needs
// them; those that it has go on when they cannot be had.
type keySet struct {
	fetch func(ctx context.Context) ([]byte, error)
	now   func() time.Time

	fetching sync.Mutex // held while keys are fetched

	mu      sync.Mutex // guards all below; taken after fetching
	keys    jwt.Keyfunc
	known   map[string]bool
	fetched time.Time
	tried   time.Time
	failed  error // of the last try
}

// key finds the key that signed a token.
func (s *keySet) key(ctx context.Context, t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	if known, fresh := s.knows(kid); !known {
		if err := s.refresh(ctx, kid); err != nil {
			return nil, err
		}
	} else if !fresh && s.fetching.TryLock() {
		// Who comes meanwhile goes on with the keys that there are.
		s.load(ctx)
		s.fetching.Unlock()
	}
	s.mu.Lock()
	keys, known := s.keys, s.known[kid]
	s.mu.Unlock()
	if !known {
		return nil, errors.New("unknown key")
	}
	return keys(t)
}

func (s *keySet) knows(kid string) (known, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	return s.known[kid], now.Sub(s.fetched) < keysLife || now.Sub(s.tried) < keysPause
}

// refresh fetches keys for one that is not known, or waits for whoever does. It
// is ErrUnavailable when it is not certain that there is no such key.
func (s *keySet) refresh(ctx context.Context, kid string) error {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	s.mu.Lock()
	known, recent := s.known[kid], s.now().Sub(s.tried) < keysPause
	s.mu.Unlock()
	if !known && !recent {
		s.load(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil && !s.known[kid] {
		return fmt.Errorf("%w: the keys of the token's issuer cannot be had: %w", postbox.ErrUnavailable, s.failed)
	}
	return nil
}

// load fetches the keys once. The caller holds fetching.
func (s *keySet) load(ctx context.Context) {
	// A client that gives up must not fail the try for those who wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysPatience)
	defer cancel()
	began := s.now()
	text, err := s.fetch(ctx)
	var keys jwt.Keyfunc
	var known map[string]bool
	if err == nil {
		keys, known, err = parseKeys(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried, s.failed = began, err
	if err == nil {
		s.keys, s.known, s.fetched = keys, known, began
	}
}

// parseKeys reads a key set. Keys of kinds that it does not know are passed over.
func parseKeys(text []byte) (jwt.Keyfunc, map[string]bool, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, fmt.Errorf("read the key set: %w", err)
	}
	storage, known := jwkset.NewMemoryStorage(), make(map[string]bool)
	for _, k := range set.Keys {
		if k.KTY == jwkset.KtyOct || k.USE != "" && k.USE != jwkset.UseSig {
			continue
		}
		key, err := jwkset.NewJWKFromMarshal(k, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if errors.Is(err, jwkset.ErrUnsupportedKey) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the key %.64q of the set: %w", k.KID, err)
		}
		if err := storage.KeyWrite(context.Background(), key); err != nil {
			return nil, nil, err
		}
		known[k.KID] = true
	}
	if len(known) == 0 {
		return nil, nil, errors.New("the key set has no key that can sign")
	}
	found, err := keyfunc.New(keyfunc.Options{Storage: storage})
	if err != nil {
		return nil, nil, err
	}
	return found.Keyfunc, known, nil
}
