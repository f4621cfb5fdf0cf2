package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"runtime/metrics"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"postbox"
)

// Cost of a new hash: argon2id with 19 MiB (hashMemory), two passes, one lane, the
// second of the equal choices in the OWASP Password Storage Cheat Sheet. One takes
// about 20 ms of one core.
const (
	hashPasses  = 2
	hashLanes   = 1
	saltLength  = 16 // bytes; RFC 9106 §3.1
	tagLength   = 32 // bytes
	maxPassword = postbox.MaxPasswordLength
)

// HashPassword makes the argon2id hash of a password of 1 to 1,024 bytes, in
// PHC string form, with a salt of its own. The error is ErrInvalid. It takes
// one core for some 20 ms and 19 MiB: where many may ask at once, use
// Verifier.Hash, which takes turns.
func HashPassword(password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	h := argonHash{memory: hashMemory, passes: hashPasses, lanes: hashLanes, salt: make([]byte, saltLength)}
	rand.Read(h.salt) // never fails: crypto/rand ends the process instead
	h.tag = h.compute(password, tagLength)
	return h.String(), nil
}

func checkPassword(password string) error {
	switch {
	case password == "":
		return postbox.Errorf(postbox.CodeInvalid, "the password is empty")
	case len(password) > maxPassword:
		return postbox.Errorf(postbox.CodeInvalid, "the password has %d bytes; at most %d are allowed", len(password), maxPassword)
	}
	return nil
}

// passwordHash is a parsed stored hash.
type passwordHash interface {
	// matches computes the hash of password and compares in constant time.
	matches(password string) bool
	// needsRenewal is true for a hash that is not of the kind and the cost of those
	// that HashPassword makes: a weaker one, and one that takes longer, by which a
	// user could be told from one who does not exist.
	needsRenewal() bool
}

type argonHash struct {
	plain          bool // argon2i, as an older PHP writes it; else argon2id
	memory, passes uint32
	lanes          uint8
	salt, tag      []byte
}

func (h argonHash) compute(password string, length uint32) []byte {
	key := argon2.IDKey
	if h.plain {
		key = argon2.Key
	}
	before := collections()
	tag := key([]byte(password), h.salt, h.passes, h.memory, h.lanes, length)
	if collections() != before {
		// A collection has counted the memory of this hash as in use, and the next
		// one would come when there is twice as much: a few passwords in a row would
		// make a small server three times as large. Where more is in use, a hash
		// rarely meets a collection.
		runtime.GC()
	}
	return tag
}

// collections is how many collections of garbage there have been.
func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func (h argonHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.compute(password, uint32(len(h.tag))), h.tag) == 1
}

func (h argonHash) needsRenewal() bool {
	return h.plain || h.memory != hashMemory || h.passes != hashPasses || h.lanes != hashLanes || len(h.salt) < saltLength || len(h.tag) < tagLength
}

// String is the PHC string form.
func (h argonHash) String() string {
	name := "argon2id"
	if h.plain {
		name = "argon2i"
	}
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", name, argon2.Version, h.memory, h.passes, h.lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.tag))
}

// bcryptHash is a stored bcrypt hash. As everywhere, only the first 72 bytes
// of a password count.
type bcryptHash []byte

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword(h, []byte(password)) == nil
}

func (bcryptHash) needsRenewal() bool { return true }
