package broker

import (
	"context"

	"postbox"
	"postbox/api"
)

// Call implements hooks.Operations: there is nothing to be asked.
func (m *memory) Call(_ context.Context, _ api.Caller, operation string, _ []byte) ([]byte, *postbox.Error) {
	return nil, postbox.Errorf(postbox.CodeNotFound, "there is no operation %.80q", operation)
}

// ParseSend implements hooks.Operations.
func (m *memory) ParseSend(api.Caller, []byte) (api.Send, *postbox.Error) {
	return api.Send{}, postbox.Errorf(postbox.CodeInvalid, "nothing is sent so")
}

// Reads implements hooks.Operations: some do, and some do not.
func (m *memory) Reads(operation string) bool { return len(operation)%2 == 0 }

// Visible implements hooks.Sight: everybody sees nobody.
func (m *memory) Visible(context.Context, postbox.UserID, []postbox.User) ([]postbox.PresenceState, error) {
	return nil, nil
}

// Viewers implements hooks.Sight.
func (m *memory) Viewers(context.Context, postbox.UserID) ([]postbox.UserID, error) { return nil, nil }

// NoteSeen implements hooks.Sight.
func (m *memory) NoteSeen(context.Context, []postbox.UserID) error { return nil }
