package web_test

import (
	"testing"
	"time"

	"postbox"
	"postbox/internal/apitest/contract"
)

// Whatever is asked of an operation, right or wrong, has the answer that its
// document promises, and never a fault of the server.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	own := s.say("alice", "bob", "mine")
	s.say("bob", "alice", "to me")
	foreign := s.say("carol", "bob", "none of alice's business")
	s.Lock()
	s.Users["carol"].Devices = []postbox.DeviceState{{Name: "carols"}}
	s.Unlock()
	contract.Generated(t, contract.Surface{
		URL: s.URL, Checker: s.checker, Authorization: basic("alice").Get("Authorization"),
		Foreign: map[string][]any{
			"id": {foreign}, "before": {foreign}, "after": {foreign}, "around": {foreign}, "device": {"carols"},
			"with": {"carol"}, "room": {"attic"},
		},
		Valid: func(operation string) map[string]any {
			switch operation {
			case "send":
				return map[string]any{"to": "bob", "body": "hello"}
			case "history":
				return map[string]any{"with": "bob"}
			case "read":
				return map[string]any{"with": "bob", "seq": 1}
			case "edit":
				return map[string]any{"id": own, "body": "changed"}
			case "retract":
				return map[string]any{"id": own}
			case "device.revoke":
				s.Lock()
				defer s.Unlock()
				s.Users["alice"].Devices = []postbox.DeviceState{{Name: "phone", SeenAt: time.Now()}}
				return map[string]any{"device": "phone"}
			case "block", "unblock":
				return map[string]any{"user": "carol"}
			case "profile", "presence":
				return map[string]any{"users": []string{"bob", "carol"}}
			}
			return nil
		},
	}, 17, 40) // the whole server is asked more: broker TestGeneratedRequests
}
