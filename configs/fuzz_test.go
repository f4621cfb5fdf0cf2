package configs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// Whatever the sources say, loading ends with settings that are valid, and that
// say the same when they are printed and read again; or with lines that each
// name a place.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(Reference()), "POSTBOX_LISTEN_MQTT", "127.0.0.1:0")
	f.Add([]byte("limits:\n  window: 4\nlog: {level: info}\n"), "POSTBOX_LIMITS_BODY_SIZE", "1KiB")
	f.Add([]byte("registration: open\nregistration: closed\n"), "POSTBOX_LIMITS_CONNECT_TIMEOUT", "10s")
	f.Add([]byte("a: &a [*a]\n? {b: c}\n--- \n...\n"), "POSTBOX_LISTEN_ORIGINS", "http://a,,https://b:1")
	f.Add([]byte("limits: {publish_rate: -1, window: 0x10}\n"), "POSTBOX_DATABASE_URL", "postgres://u:secret@h/d?a=%zz")
	file := filepath.Join(f.TempDir(), "postbox.yaml")
	f.Fuzz(func(t *testing.T, content []byte, name, value string) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Sources{File: file, Env: []string{name + "=" + value}})
		if err != nil {
			if !utf8.ValidString(err.Error()) && utf8.Valid(content) && utf8.ValidString(name+value) {
				t.Errorf("a fault that is no text: %q", err)
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.Contains(line, ": ") {
					t.Errorf("a fault without a place: %q, of %q", line, err)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("loaded, but not valid: %v", err)
		}
		c.Database.URL = "" // printed without its password
		var printed bytes.Buffer
		if err := c.Print(&printed); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, printed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load(Sources{File: file})
		if err != nil {
			t.Fatalf("what was printed cannot be read: %v\n%s", err, printed.Bytes())
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("printed and read again:\n%s", diff)
		}
	})
}
