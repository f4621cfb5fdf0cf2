package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrintIsLoadedBack(t *testing.T) {
	t.Parallel()
	want := Default()
	want.Listen.MQTT = ":1883"
	want.Listen.Origins = []string{"https://a.example", "http://b.example:8000"}
	want.Database.URL = "host=db dbname='a: b # c'"
	want.Database.EmbeddedDir = "true"
	want.Limits.BodySize = 65_537
	want.Limits.PublishRate = 0
	var printed strings.Builder
	if err := want.Print(&printed); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Sources{File: write(t, printed.String())})
	if err != nil {
		t.Fatalf("%v in\n%s", err, printed.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrintStaysReadable(t *testing.T) {
	t.Parallel()
	var printed strings.Builder
	if err := Default().Print(&printed); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"listen:", "  mqtt: 127.0.0.1:1883", "  origins: []", `  url: ""`, "  pool_size: 10",
		"outage_timeout: 5m", "  body_size: 64KiB", "  session_expiry: 30d", "  access: 12h", "  level: info",
	} {
		if !strings.Contains("\n"+printed.String(), "\n"+line+"\n") {
			t.Errorf("line %q is missing in\n%s", line, printed.String())
		}
	}
}

func TestPrintRedacts(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                  "",
		"postgres://u@h/d":                  "postgres://u@h/d",
		"postgres://u:topsecret@h:5432/d":   "postgres://u:xxxxx@h:5432/d",
		"postgresql://:topsecret@/d":        "postgresql://:xxxxx@/d",
		"postgres://h/d?password=topsecret": "postgres://h/d?password=xxxxx",
		"postgres://u:topsecret@h/d?sslpassword=topsecret&sslmode=disable": "postgres://u:xxxxx@h/d?sslmode=disable&sslpassword=xxxxx",
		"host=h password=topsecret dbname=d":                               "host=h password=xxxxx dbname=d",
		`host=h password = 'top\'secret topsecret' dbname=d`:               "host=h password = xxxxx dbname=d",
		`PASSWORD=top\ secret host=h`:                                      "PASSWORD=xxxxx host=h",
		`sslpassword='topsecret`:                                           "sslpassword=xxxxx",
	} {
		c := Default()
		c.Database.URL = url
		var printed strings.Builder
		if err := c.Print(&printed); err != nil {
			t.Fatal(err)
		}
		got, err := Load(Sources{File: write(t, printed.String())})
		if err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if got.Database.URL != want {
			t.Errorf("%s is printed as %s, want %s", url, got.Database.URL, want)
		}
		if strings.Contains(printed.String(), "secret") {
			t.Errorf("the password of %s is in\n%s", url, printed.String())
		}
	}
}

func TestPrintRedactsHeader(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Trace.Header = "Authorization: Bearer topsecret"
	var printed strings.Builder
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	if got := printed.String(); strings.Contains(got, "secret") || !strings.Contains(got, "Authorization: xxxxx") {
		t.Errorf("printed:\n%s", got)
	}
}
