package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"postbox"
	"postbox/api"
	"postbox/web"
)

func TestExport(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.post("alice", "send", `{"to":"bob","body":"hello"}`)
	got := s.request(http.MethodGet, "/v1/export", nil, "")
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "application/jsonl" ||
		got.Header.Get("Content-Disposition") != `attachment; filename="postbox-alice.jsonl"` {
		t.Fatalf("%d %v", got.StatusCode, got.Header)
	}
	lines := strings.Split(strings.TrimSuffix(got.text, "\n"), "\n")
	if !strings.Contains(got.text, `"body":"hello"`) || !strings.HasPrefix(lines[len(lines)-1], `{"type":"end"`) {
		t.Errorf("%s", got.text)
	}
	if got := s.request(http.MethodGet, "/v1/export", http.Header{}, ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %d", got.StatusCode)
	}
	if got := s.request(http.MethodGet, "/v1/export?user=bob", nil, ""); got.StatusCode != http.StatusBadRequest {
		t.Errorf("with a parameter: %d", got.StatusCode)
	}
	s.Fail = func() error { return postbox.ErrUnavailable }
	if got := s.request(http.MethodGet, "/v1/export", nil, ""); got.StatusCode != http.StatusServiceUnavailable || got.code() != "unavailable" {
		t.Errorf("while the database is away: %d %s", got.StatusCode, got.text)
	}
}

// halting is an export that stops in its middle.
type halting struct {
	begun chan struct{}
	fails bool
}

func (h *halting) Export(ctx context.Context, _ postbox.UserID, w io.Writer, progress func(api.Progress)) error {
	if _, err := io.WriteString(w, strings.Repeat(`{"type":"message"}`+"\n", 5000)); err != nil {
		return err
	}
	progress(api.Progress{})
	if close(h.begun); h.fails {
		return errors.New("away")
	}
	<-ctx.Done()
	return ctx.Err()
}

// An export that is cut does not look whole to the peer: by a fault, or by what
// ends streams.
func TestExportIsCut(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]bool{"a fault": true, "a kick": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &halting{begun: make(chan struct{}), fails: fails}
			s := serve(t, func(o *web.APIOptions) { o.Exporter = h })
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/export", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = basic("alice")
			plain := &http.Transport{} // the checker reads an answer to its end first
			defer plain.CloseIdleConnections()
			got, err := plain.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			<-h.begun
			if !fails {
				s.api.Kick(s.Users["alice"].ID)
			}
			if text, err := io.ReadAll(got.Body); err == nil {
				t.Errorf("%d bytes look whole", len(text))
			}
		})
	}
}
