package api_test

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postbox"
	"postbox/api"
	"postbox/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a world and the operations on it.
type house struct {
	t *testing.T
	*apitest.World
	api *api.API
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, World: apitest.NewWorld("alice", "bob", "carol")}
	o := h.Options()
	o.Logger = slog.New(slog.DiscardHandler)
	o.Now = func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }
	h.api = api.New(o)
	t.Cleanup(func() { _ = h.api.Shutdown(t.Context()) })
	return h
}

// object is a JSON object.
type object = map[string]any

// ask does an operation that must succeed.
func (h *house) ask(user postbox.User, operation, request string) object {
	h.t.Helper()
	return h.askAs(h.Caller(user, api.EdgeHTTP), operation, request)
}

func (h *house) askAs(c api.Caller, operation, request string) object {
	h.t.Helper()
	reply, err := h.api.Call(h.t.Context(), c, operation, []byte(request))
	if err != nil {
		h.t.Fatalf("%s %s: %s: %v", operation, request, err.Code, err)
	}
	var o object
	if err := json.Unmarshal(reply, &o); err != nil {
		h.t.Fatalf("%s %s: %v in %s", operation, request, err, reply)
	}
	return o
}

// refused does an operation that must not succeed.
func (h *house) refused(user postbox.User, operation, request string) *postbox.Error {
	h.t.Helper()
	reply, err := h.api.Call(h.t.Context(), h.Caller(user, api.EdgeHTTP), operation, []byte(request))
	if err == nil {
		h.t.Fatalf("%s %s: %s, want a refusal", operation, request, reply)
	}
	return err
}

// say sends a message and returns its id.
func (h *house) say(from, to postbox.User, body string) string {
	h.t.Helper()
	b, _ := json.Marshal(object{"to": to, "body": body})
	return h.ask(from, "send", string(b))["id"].(string)
}

// column reads one member of each object of a list.
func column(list any, name string) []any {
	var all []any
	for _, item := range list.([]any) {
		all = append(all, item.(object)[name])
	}
	return all
}
