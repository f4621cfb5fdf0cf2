package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"postbox"
)

// VerifierOptions are the settings of a Verifier.
type VerifierOptions struct {
	// Parallel is how many hashes are computed at once, each with a core and
	// 19 MiB of its own. Zero means one for each processor but one, at most four.
	Parallel int
	// Remember is how many verified passwords are kept in memory, at some 60
	// bytes each. Zero means 100,000; negative means none.
	Remember int
}

// Verdict is the answer to a password.
type Verdict struct {
	// OK is true when the password is the right one.
	OK bool
	// Renew is true when OK is and the stored hash is weaker than those made
	// today: store the result of Hash in its place.
	Renew bool
}

// Verifier checks passwords. It is safe for concurrent use.
//
// A password once verified is remembered in memory, so that a device that
// reconnects costs no argon2. What is kept is an HMAC under a key of this
// process over the stored hash and the password: no password, and nothing that
// still counts when the stored hash changes.
type Verifier struct {
	key   []byte
	turns chan struct{} // holds one value for each hash being computed
	limit int
	// Computes a hash and compares; replaced in tests.
	matches func(h passwordHash, password string) bool
	guesses guesses
	made    guesses // accounts

	mu         sync.Mutex
	remembered map[[sha256.Size]byte]struct{}
}

// stranger is the hash that an unknown user's password is compared with: of
// the cost of a new one, and of nothing.
var stranger = argonHash{
	memory: hashMemory, passes: hashPasses, lanes: hashLanes,
	salt: make([]byte, saltLength), tag: make([]byte, tagLength),
}

// NewVerifier makes a Verifier that remembers nothing yet.
func NewVerifier(o VerifierOptions) *Verifier {
	if o.Parallel <= 0 {
		// Each takes 19 MiB: more at once would cost more memory than they save. A
		// processor is left to those who have been let in, whoever guesses.
		o.Parallel = max(1, min(runtime.NumCPU()-1, 4))
	}
	if o.Remember == 0 {
		o.Remember = 100_000
	}
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return &Verifier{
		key:        key,
		turns:      make(chan struct{}, o.Parallel),
		limit:      o.Remember,
		matches:    passwordHash.matches,
		remembered: make(map[[sha256.Size]byte]struct{}),
		guesses:    wrongPasswords(time.Now),
		made:       registrations(time.Now),
	}
}

// Check is CheckFrom for a password of nowhere: wrong ones are not slowed.
func (v *Verifier) Check(ctx context.Context, stored, password string) (Verdict, error) {
	return v.CheckFrom(ctx, Origin{}, stored, password)
}

// CheckFrom compares a password with a stored hash, argon2id or bcrypt. An empty
// stored hash stands for an unknown user or one without a password: it costs
// the same time as a hash made today, and is never OK.
//
// At most VerifierOptions.Parallel hashes are computed at once; the others
// wait: a ctx that ends meanwhile is ErrUnavailable. An origin that many wrong
// passwords came from waits too, and is ErrRateLimited when that would be too
// long. Neither says anything about the password. Any other error is a stored hash
// that cannot be read: a fault of ours, for the log.
//
// Passwords that are remembered wait for nothing.
func (v *Verifier) CheckFrom(ctx context.Context, from Origin, stored, password string) (Verdict, error) {
	if checkPassword(password) != nil {
		return Verdict{}, nil // no stored hash can be of it, whoever the user is
	}
	var h passwordHash = stranger
	if stored != "" {
		var err error
		if h, err = parseHash(stored); err != nil {
			return Verdict{}, err
		}
	}
	right := Verdict{OK: true, Renew: h.needsRenewal()}
	mark := v.markOf(stored, password)
	if v.remembers(mark) {
		return right, nil
	}
	if err := v.takeTurnFrom(ctx, from); err != nil {
		return Verdict{}, err
	}
	defer v.endTurn()
	if v.remembers(mark) { // verified by another device of the user meanwhile
		return right, nil
	}
	if !v.matches(h, password) || stored == "" {
		v.guesses.failed(from)
		return Verdict{}, nil
	}
	v.remember(mark)
	return right, nil
}

// Hash is HashPassword, waiting its turn as Check does.
func (v *Verifier) Hash(ctx context.Context, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	if err := v.takeTurn(ctx); err != nil {
		return "", err
	}
	defer v.endTurn()
	return HashPassword(password)
}

// HashFrom is Hash for an account that somebody makes for themself, from an address:
// ErrRateLimited when many came from there.
func (v *Verifier) HashFrom(ctx context.Context, address, password string) (string, error) {
	from := Origin{Address: address}
	if err := v.made.await(ctx, from, v.made.now()); err != nil {
		return "", err
	}
	v.made.failed(from)
	return v.Hash(ctx, password)
}

// takeTurnFrom takes a turn for an origin, which may have been slowed while it
// waited for the turn.
func (v *Verifier) takeTurnFrom(ctx context.Context, from Origin) error {
	until := v.guesses.now().Add(guessPatience)
	for {
		if err := v.guesses.await(ctx, from, until); err != nil {
			return err
		}
		if err := v.takeTurn(ctx); err != nil {
			return err
		}
		if v.guesses.wait(from) <= 0 {
			return nil
		}
		v.endTurn()
	}
}

func (v *Verifier) takeTurn(ctx context.Context) error {
	if ctx.Err() == nil {
		select {
		case v.turns <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return postbox.Errorf(postbox.CodeUnavailable, "too many passwords are being checked: try again later")
}

func (v *Verifier) endTurn() { <-v.turns }

func (v *Verifier) markOf(stored, password string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, v.key)
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(stored)))
	mac.Write(length[:])
	mac.Write([]byte(stored))
	mac.Write([]byte(password))
	return [sha256.Size]byte(mac.Sum(nil))
}

func (v *Verifier) remembers(mark [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.remembered[mark]
	return ok
}

// remember keeps mark, in the place of an arbitrary other when full.
func (v *Verifier) remember(mark [sha256.Size]byte) {
	if v.limit < 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.remembered) >= v.limit {
		for other := range v.remembered {
			delete(v.remembered, other)
			break
		}
	}
	v.remembered[mark] = struct{}{}
}
