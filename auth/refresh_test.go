package auth

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postbox"
)

// The next token is the same from the same salt, another from another, and cannot be
// told from what is kept.
func TestRefreshTokensFollow(t *testing.T) {
	t.Parallel()
	first := NewRefreshToken()
	read, err := ParseRefreshToken(first.Secret())
	if err != nil || read != first {
		t.Fatalf("read back: %t, %v", read == first, err)
	}
	salt := NewSalt()
	next := first.Next(salt)
	if again := read.Next(salt); again != next {
		t.Error("the same salt gives another token")
	}
	if other := first.Next(NewSalt()); other == next || next == first {
		t.Error("two tokens are the same")
	}
	if !bytes.Equal(next.Family(), first.Family()) || bytes.Equal(NewRefreshToken().Family(), first.Family()) {
		t.Error("a family is not that of its tokens alone")
	}
	if bytes.Equal(next.Hash(), first.Hash()) || bytes.Contains([]byte(first.Secret()), first.Hash()) {
		t.Error("a hash tells of the token")
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", first, first, first, first); strings.Contains(shown, first.Secret()[10:30]) || len(shown) > 100 {
		t.Errorf("printed, a token is %s", shown)
	}
}

func TestParseRefreshTokenRefuses(t *testing.T) {
	t.Parallel()
	good := NewRefreshToken().Secret()
	for _, s := range []string{
		"", "pbr_", good[4:], good + "A", good[:len(good)-1], good[:len(good)-1] + "\n", strings.Replace(good, "pbr_", "PBR_", 1), good[:20] + "+" + good[21:], "eyJhbGciOiJIUzI1NiJ9.e30.x",
	} {
		if _, err := ParseRefreshToken(s); !errors.Is(err, postbox.ErrUnauthenticated) || s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestInviteCodesAreForgiving(t *testing.T) {
	t.Parallel()
	code := NewInviteCode()
	if typed := " " + strings.ToLower(code[:5]) + "-" + code[5:]; !bytes.Equal(InviteHash(typed), InviteHash(code)) {
		t.Errorf("%q is not %q", typed, code)
	}
	if bytes.Equal(InviteHash(NewInviteCode()), InviteHash(code)) || len(code) < 26 {
		t.Error("codes are not unique and long")
	}
}
