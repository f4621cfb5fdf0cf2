package auth

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// keyLength is the length in bytes of a new key's secret, as long as the
// output of the hash that signs (RFC 7518 §3.2).
const keyLength = 32

// Key signs and verifies our own tokens. Its secret never leaves the store and
// the servers: printed or logged, a Key shows its ID only.
type Key struct {
	ID      string
	Secret  []byte `json:"-"`
	Created time.Time
}

// NewKey makes a key with a random ID and a random secret of 32 bytes, created
// now.
func NewKey() Key {
	b := make([]byte, keyLength+8)
	rand.Read(b)
	return Key{ID: hex.EncodeToString(b[keyLength:]), Secret: b[:keyLength], Created: time.Now().UTC()}
}

// String is the key without its secret.
func (k Key) String() string { return "key " + k.ID }

// GoString is the key without its secret.
func (k Key) GoString() string { return "auth.Key{ID: " + fmt.Sprintf("%q", k.ID) + "}" }

func (k Key) check() error {
	switch {
	case k.ID == "":
		return errors.New("signing key without an id")
	case len(k.Secret) < keyLength:
		return fmt.Errorf("signing key %s has a secret of %d bytes; at least %d are needed", k.ID, len(k.Secret), keyLength)
	}
	return nil
}
