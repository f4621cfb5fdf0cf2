package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"postbox"
)

// Hashes made elsewhere: the argon2 reference program's own test of
// "password" with "somesalt", and crypt(3) of "rasmuslerdorf" in the form that
// PHP writes.
const (
	referenceArgon = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	phpBcrypt      = "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"
	// Of PHP 8.2.36: password_hash("päss wörd", $algorithm, $options), with
	// PASSWORD_BCRYPT and the costs 10 and 12, PASSWORD_ARGON2ID and PASSWORD_ARGON2I.
	phpPassword = "päss wörd"
	phpBcrypt10 = "$2y$10$yDmJaO6XIno.tG2bV1SHHe7DKzri769cEn5EAVOsdAD8hQj1lD4F."
	phpBcrypt12 = "$2y$12$VRtid/k5uw4SEcx4p8bICOK06JjfiB95hLVf7BKZvZPjs6s/7yjYy"
	phpArgon2id = "$argon2id$v=19$m=65536,t=4,p=1$YmlJbzlaQ1ZOZmVkelpFUg$gfMUwfn0r8a8f/fYSzkn0jOEiTP2ClA7UjSz23ZtHfo"
	phpArgon2i  = "$argon2i$v=19$m=65536,t=4,p=1$cTYzbjNxVnIvUGFXVDI1dA$Vo1bQ6tai7LfrYxV9idm3X61aTfBmBr8M9TYQ6/yWcI"
	// Cheap enough for tests that verify thousands: "x" with "saltsalt".
	cheapCost = "$argon2id$v=19$m=8,t=1,p=1$"
)

// cheapHash is a hash of password that costs nothing.
func cheapHash(password string) string {
	h := argonHash{memory: 8, passes: 1, lanes: 1, salt: []byte("saltsalt")}
	h.tag = h.compute(password, 32)
	return h.String()
}

func TestStoredHashesOfOtherProgramsMatch(t *testing.T) {
	t.Parallel()
	ours, err := HashPassword("пароль 密码")
	if err != nil {
		t.Fatal(err)
	}
	byLibrary, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, stored, password string
		renew                  bool
	}{
		{"ours", ours, "пароль 密码", false},
		{"argon2 reference program, salt of 8 bytes", referenceArgon, "password", true},
		{"cheap argon2id", cheapHash("x"), "x", true},
		{"PHP", phpBcrypt, "rasmuslerdorf", true},
		{"PHP's bcrypt of cost 10", phpBcrypt10, phpPassword, true},
		{"PHP's bcrypt of cost 12", phpBcrypt12, phpPassword, true},
		{"PHP's argon2id, which costs more than ours", phpArgon2id, phpPassword, true},
		{"PHP's argon2i", phpArgon2i, phpPassword, true},
		{"bcrypt 2a", string(byLibrary), "open sesame", true},
		{"bcrypt 2b", "$2b$" + string(byLibrary[4:]), "open sesame", true},
		{"bcrypt 2y", "$2y$" + string(byLibrary[4:]), "open sesame", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := parseHash(tt.stored)
			if err != nil {
				t.Fatal(err)
			}
			if !h.matches(tt.password) {
				t.Error("the right password does not match")
			}
			for _, wrong := range []string{"", tt.password + "!", strings.ToUpper(tt.password) + " "} {
				if h.matches(wrong) {
					t.Errorf("the password %q matches too", wrong)
				}
			}
			if got := h.needsRenewal(); got != tt.renew {
				t.Errorf("needsRenewal() = %t, want %t", got, tt.renew)
			}
		})
	}
}

func TestBcryptTakesTheFirst72BytesAsPHPDoes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 8)
	stored, err := bcrypt.GenerateFromPassword([]byte(long[:72]), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(string(stored))
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches(long) || h.matches(long[:71]) {
		t.Errorf("80 bytes match: %t, want true; 71 bytes match: %t, want false", h.matches(long), h.matches(long[:71]))
	}
}

func TestHashPasswordHasLimits(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1025} {
		if h, err := HashPassword(strings.Repeat("x", n)); !errors.Is(err, postbox.ErrInvalid) || h != "" {
			t.Errorf("HashPassword of %d bytes = %q, %v, want ErrInvalid", n, h, err)
		}
	}
	a, err := HashPassword(strings.Repeat("x", 1024))
	if err != nil {
		t.Fatal(err)
	}
	b, err := HashPassword(strings.Repeat("x", 1024))
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	if want := fmt.Sprintf("$argon2id$v=19$m=%d,t=2,p=1$", hashMemory); !strings.HasPrefix(a, want) {
		t.Errorf("hash %s does not begin with %s", a, want)
	}
}

func TestParseHashRefuses(t *testing.T) {
	t.Parallel()
	const salt, tag = "c2FsdHNhbHQ", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for name, s := range map[string]string{
		"plain text":              "secret",
		"nothing":                 "",
		"md5crypt":                "$1$abc$def",
		"argon2d":                 "$argon2d$v=19$m=8,t=1,p=1$" + salt + "$" + tag,
		"argon2i without passes":  "$argon2i$v=19$m=8,t=0,p=1$" + salt + "$" + tag,
		"argon2id of version 16":  "$argon2id$v=16$m=8,t=1,p=1$" + salt + "$" + tag,
		"no version":              "$argon2id$m=8,t=1,p=1$" + salt + "$" + tag,
		"parameters in disorder":  "$argon2id$v=19$t=1,m=8,p=1$" + salt + "$" + tag,
		"no passes":               "$argon2id$v=19$m=8,t=0,p=1$" + salt + "$" + tag,
		"no lanes":                "$argon2id$v=19$m=8,t=1,p=0$" + salt + "$" + tag,
		"256 lanes":               "$argon2id$v=19$m=4096,t=1,p=256$" + salt + "$" + tag,
		"memory under 8 per lane": "$argon2id$v=19$m=15,t=1,p=2$" + salt + "$" + tag,
		"memory of 4 TiB":         "$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + tag,
		"endless passes":          "$argon2id$v=19$m=8,t=4294967295,p=1$" + salt + "$" + tag,
		"a sign":                  "$argon2id$v=19$m=+8,t=1,p=1$" + salt + "$" + tag,
		"a leading zero":          "$argon2id$v=19$m=08,t=1,p=1$" + salt + "$" + tag,
		"a fourth parameter":      "$argon2id$v=19$m=8,t=1,p=1,keyid=x$" + salt + "$" + tag,
		"a short salt":            cheapCost + "c2FsdA$" + tag,
		"a short tag":             cheapCost + salt + "$AAAA",
		"an empty tag":            cheapCost + salt + "$",
		"padding":                 cheapCost + salt + "=$" + tag,
		"a line end":              cheapCost + salt + "$" + tag + "\n",
		"a fifth part":            cheapCost + salt + "$" + tag + "$",
		"bcrypt 2x":               "$2x$" + phpBcrypt[4:],
		"bcrypt cut short":        phpBcrypt[:59],
		"bcrypt too long":         phpBcrypt + "a",
		"bcrypt cost 31":          "$2y$31" + phpBcrypt[6:],
		"bcrypt cost 03":          "$2y$03" + phpBcrypt[6:],
		"bcrypt of other letters": phpBcrypt[:59] + "!",
	} {
		h, err := parseHash(s)
		if err == nil {
			t.Errorf("%s: parseHash takes it: %v", name, h)
		} else if len(s) > 20 && strings.Contains(err.Error(), s[len(s)-8:]) {
			t.Errorf("%s: the error shows the hash: %v", name, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(referenceArgon)
	f.Add(phpBcrypt)
	f.Add(cheapHash("x"))
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$$")
	f.Add("$argon2i$v=19$m=10,t=1,p=1$00000000000$00000000000000000000000")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil {
			return
		}
		a, ok := h.(argonHash)
		if !ok {
			return // one bcrypt costs too much for a fuzz step
		}
		if got := a.String(); got != s {
			t.Errorf("parsed %q and wrote %q", s, got)
		}
		if a.memory <= 64 && a.passes <= 2 {
			a.matches("password") // must not panic, whatever the parameters
		}
	})
}
