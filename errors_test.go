package postbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"postbox"
)

func TestErrorIsOfItsCode(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("send: %w", postbox.Errorf(postbox.CodeForbidden, "bob takes nothing from %s", "mallory"))
	other := postbox.Errorf(postbox.CodeForbidden, "another reason")
	for _, test := range []struct {
		target error
		want   bool
	}{
		{postbox.ErrForbidden, true},
		{postbox.ErrInvalid, false},
		{postbox.Errorf(postbox.CodeForbidden, "bob takes nothing from mallory"), true},
		{other, false},
		{context.Canceled, false},
	} {
		if got := errors.Is(err, test.target); got != test.want {
			t.Errorf("errors.Is(%v, %v) = %v", err, test.target, got)
		}
	}
	if got := err.Error(); got != "send: bob takes nothing from mallory" {
		t.Errorf("%s", got)
	}
	if got := postbox.ErrNotFound.Error(); got != "not_found" {
		t.Errorf("a code alone: %s", got)
	}
}

// Causes belong in a log: a stranger gets a code and a general sentence.
func TestAsErrorHidesCauses(t *testing.T) {
	t.Parallel()
	own := postbox.Errorf(postbox.CodeConflict, "taken")
	if got := postbox.AsError(fmt.Errorf("add: %w", own)); got != own {
		t.Errorf("%+v", got)
	}
	got := postbox.AsError(errors.New("relation postbox.users does not exist"))
	if got.Code != postbox.CodeInternal || got.Message != "a fault of the server; its log has the cause" {
		t.Errorf("%+v", got)
	}
}
