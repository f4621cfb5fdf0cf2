package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

const (
	refreshPrefix = "pbr_" // so that programs which look for leaked secrets find it
	familyLength  = 16     // bytes
	refreshLength = familyLength + 32
	saltOfRefresh = 32 // bytes
)

// RefreshToken is one of the tokens that follow from a sign-in, its family: each
// is used once, for the next. Printed, it shows nothing.
type RefreshToken struct{ bytes [refreshLength]byte }

// NewRefreshToken makes the first of a new family, of random bytes.
func NewRefreshToken() RefreshToken {
	var t RefreshToken
	rand.Read(t.bytes[:])
	return t
}

// ParseRefreshToken reads a token as a client gives it. The error is
// ErrUnauthenticated.
func ParseRefreshToken(s string) (RefreshToken, error) {
	var t RefreshToken
	digits, ok := strings.CutPrefix(s, refreshPrefix)
	if !ok || len(digits) != base64.RawURLEncoding.EncodedLen(refreshLength) || strings.ContainsAny(digits, "\r\n") {
		return t, ErrRefreshToken
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(t.bytes[:], []byte(digits)); err != nil {
		return RefreshToken{}, ErrRefreshToken
	}
	return t, nil
}

// ErrRefreshToken is the answer to a refresh token that does not count, for
// whatever reason.
var ErrRefreshToken = refuse("the refresh token is not valid any more: log in again")

// Secret is the token as its client is given it.
func (t RefreshToken) Secret() string {
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(t.bytes[:])
}

// Family is what the tokens of one sign-in have in common. It lets nobody in.
func (t RefreshToken) Family() []byte { return t.bytes[:familyLength] }

// Hash is what is kept of the token.
func (t RefreshToken) Hash() []byte {
	h := sha256.Sum256(t.bytes[:])
	return h[:]
}

// NewSalt makes what Next needs to make a token that nobody can foresee.
func NewSalt() []byte {
	salt := make([]byte, saltOfRefresh)
	rand.Read(salt)
	return salt
}

// Next is the token after this one: the same one again from the same salt, so
// that a client which has lost an answer can be given it once more, though only
// its hash is kept. Who has the salt alone, or this token alone, does not know it.
func (t RefreshToken) Next(salt []byte) RefreshToken {
	mac := hmac.New(sha256.New, t.bytes[familyLength:])
	mac.Write(salt)
	next := t
	copy(next.bytes[familyLength:], mac.Sum(nil))
	return next
}

// String shows nothing of the token.
func (RefreshToken) String() string { return "refresh token" }

// GoString shows nothing of the token.
func (RefreshToken) GoString() string { return "auth.RefreshToken{}" }
