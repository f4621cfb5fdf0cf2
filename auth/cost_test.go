//go:build !race

package auth

import (
	"strings"
	"testing"
)

// What a program that keeps passwords spends on each. "make guards" runs it, since
// the other tests run with the race detector.
func TestCostOfAHash(t *testing.T) {
	hash, err := HashPassword("secret")
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; err != nil || !strings.HasPrefix(hash, want) {
		t.Errorf("%s, %v: want %s…", hash, err, want)
	}
}
