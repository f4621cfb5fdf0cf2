package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
)

// NewInviteCode makes the code of an invitation: 26 letters and digits, of which
// nobody guesses one. What is kept of it is its InviteHash.
func NewInviteCode() string { return rand.Text() }

// InviteHash is what is kept of an invitation's code. People write it by hand:
// small letters, spaces and hyphens make no difference.
func InviteHash(code string) []byte {
	code = strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code))
	h := sha256.Sum256([]byte(code))
	return h[:]
}
