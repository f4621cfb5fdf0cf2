package auth

import (
	"errors"
	"testing"

	"postbox"
)

func TestMayWrite(t *testing.T) {
	t.Parallel()
	bob := func(a Accept, change func(*Recipient)) Recipient {
		r := Recipient{User: "bob", Exists: true, Accept: a}
		if change != nil {
			change(&r)
		}
		return r
	}
	blocked := func(r *Recipient) { r.Blocked = true }
	knows := func(r *Recipient) { r.Knows = true }
	knowsAndBlocked := func(r *Recipient) { r.Knows, r.Blocked = true, true }
	erased := func(r *Recipient) { r.Erased = true }
	tests := []struct {
		name   string
		sender postbox.User
		to     Recipient
		want   error
	}{
		{"everyone", "alice", bob(AcceptEveryone, nil), nil},
		{"everyone but the blocked", "alice", bob(AcceptEveryone, blocked), postbox.ErrForbidden},
		{"known", "alice", bob(AcceptKnown, knows), nil},
		{"known, but a stranger", "alice", bob(AcceptKnown, nil), postbox.ErrForbidden},
		{"known, then blocked", "alice", bob(AcceptKnown, knowsAndBlocked), postbox.ErrForbidden},
		{"nobody", "alice", bob(AcceptNobody, knows), postbox.ErrForbidden},
		{"a setting nobody knows", "alice", bob("friends", knows), postbox.ErrForbidden},
		{"no setting", "alice", bob("", knows), postbox.ErrForbidden},
		{"oneself", "bob", bob(AcceptNobody, blocked), nil},
		{"erased", "alice", bob(AcceptEveryone, erased), postbox.ErrNotFound},
		{"oneself, erased", "bob", bob(AcceptEveryone, erased), postbox.ErrNotFound},
		{"no such user", "alice", Recipient{User: "bob", Accept: AcceptEveryone}, postbox.ErrNotFound},
	}
	for _, tt := range tests {
		if got := MayWrite(tt.sender, tt.to); !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: MayWrite = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The sentence must not tell a blocked sender from one who is not accepted,
// nor an erased name from one that nobody has.
func TestMayWriteKeepsSecrets(t *testing.T) {
	t.Parallel()
	say := func(r Recipient) string { return MayWrite("alice", r).Error() }
	if a, b := say(Recipient{User: "bob", Exists: true, Accept: AcceptNobody}),
		say(Recipient{User: "bob", Exists: true, Accept: AcceptEveryone, Blocked: true}); a != b {
		t.Errorf("not accepted says %q, blocked says %q", a, b)
	}
	if a, b := say(Recipient{User: "bob"}), say(Recipient{User: "bob", Exists: true, Erased: true}); a != b {
		t.Errorf("unknown says %q, erased says %q", a, b)
	}
}

func TestParseAccept(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"everyone", "known", "nobody"} {
		if a, err := ParseAccept(s); err != nil || string(a) != s {
			t.Errorf("ParseAccept(%q) = %q, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "Everyone", "friends"} {
		if _, err := ParseAccept(s); !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("ParseAccept(%q): %v, want ErrInvalid", s, err)
		}
	}
}
