package configs

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameConfig does not tell an empty list from none.
var sameConfig = cmpopts.EquateEmpty()

func TestReferenceIsDefault(t *testing.T) {
	t.Parallel()
	got, err := Load(Sources{File: "postbox.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, sameConfig); diff != "" {
		t.Errorf("postbox.yaml is not what Default returns (-default +file):\n%s", diff)
	}
}

func TestReferenceNamesEveryKey(t *testing.T) {
	t.Parallel()
	l := loader{settings: map[string]setting{}, origin: map[string]string{}}
	c := Default()
	for _, s := range c.settings() {
		l.settings[s.key] = s
		l.keys = append(l.keys, s.key)
	}
	l.file("postbox.yaml")
	for _, key := range l.keys {
		if l.origin[key] == "" {
			t.Errorf("postbox.yaml does not mention %s", key)
		}
	}
	content, err := os.ReadFile("postbox.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if Reference() != string(content) {
		t.Error("Reference is not postbox.yaml")
	}
}

func TestLaterSourceWins(t *testing.T) {
	t.Parallel()
	file := write(t, `
listen: {mqtt: "127.0.0.1:1", http: "127.0.0.1:2", private: "127.0.0.1:3"}
limits.session_expiry: 1d12h
`)
	got, err := Load(Sources{
		File: file,
		Env: []string{
			"PATH=/bin", "POSTBOX_LISTEN_HTTP=127.0.0.1:20", "POSTBOX_LISTEN_PRIVATE=127.0.0.1:30",
			"POSTBOX_LOG_LEVEL=warn", "POSTBOX_LOG_LEVEL=debug",
			"POSTBOX_LISTEN_ORIGINS=https://a.example, http://b.example:8000",
		},
		Flags: map[string]string{"listen.private": "127.0.0.1:300"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen = Listen{
		MQTT: "127.0.0.1:1", HTTP: "127.0.0.1:20", Private: "127.0.0.1:300",
		Origins: []string{"https://a.example", "http://b.example:8000"},
	}
	want.Limits.SessionExpiry = 36 * time.Hour
	want.Log.Level = slog.LevelDebug
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEnvironmentThatIsNotOurs(t *testing.T) {
	t.Parallel()
	got, err := Load(Sources{Env: []string{
		"POSTBOX_CONFIG=x.yaml", "POSTBOX_TEST_SEED=7",
		// What the commands that speak to a server are told.
		"POSTBOX_URL=http://h", "POSTBOX_USER=alice", "POSTBOX_PASSWORD=x", "POSTBOX_TOKEN=x", "POSTBOX_PROFILE=work", "POSTBOXES=1", "postbox_listen_mqtt=1",
		// What Kubernetes gives every container when a service is named "postbox".
		"POSTBOX_SERVICE_HOST=10.0.0.1", "POSTBOX_SERVICE_PORT=1883", "POSTBOX_SERVICE_PORT_MQTT=1883",
		"POSTBOX_PORT=tcp://10.0.0.1:1883", "POSTBOX_PORT_1883_TCP=tcp://10.0.0.1:1883",
		"POSTBOX_PORT_1883_TCP_ADDR=10.0.0.1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFileForms(t *testing.T) {
	t.Parallel()
	window := Default()
	window.Limits.Window = 7
	aliased := window
	aliased.Limits.RequestRate = 7
	origins := Default()
	origins.Listen.Origins = []string{"https://a.example"}
	url := Default()
	url.Database.URL = "host=db password='a b'"
	for name, test := range map[string]struct {
		content string
		want    Config
	}{
		"empty":           {"", Default()},
		"comments":        {"# nothing\n", Default()},
		"empty document":  {"---\n", Default()},
		"nested":          {"limits:\n  window: 7\n", window},
		"dotted":          {"limits.window: 7\n", window},
		"quoted":          {"limits: {window: \"7\"}\n", window},
		"alias":           {"limits: {window: &n 7, request_rate: *n}\n", aliased},
		"list":            {"listen:\n  origins:\n    - https://a.example\n", origins},
		"no value at all": {"database: {url: \"\"}\n", Default()},
		"key=value":       {"database.url: host=db password='a b'\n", url},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Load(Sources{File: write(t, test.content)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, sameConfig); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// write makes a file of its own for a test.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postbox.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// relative removes the directory of a test's file from an error.
func relative(err error, path string) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), "")
}
