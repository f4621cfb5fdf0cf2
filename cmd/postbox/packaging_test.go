package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"postbox/configs"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// accepts fails the test unless the program takes the arguments.
func accepts(t *testing.T, where string, args []string) {
	t.Helper()
	if len(args) == 0 || filepath.Base(args[0]) != "postbox" {
		t.Errorf("%s: %v does not run postbox", where, args)
		return
	}
	var c commands
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args[1:]); err != nil {
		t.Errorf("%s: postbox %v: %v", where, args[1:], err)
	}
}

// known fails the test unless the lines NAME=value are settings with allowed
// values.
func known(t *testing.T, where string, lines []string) {
	t.Helper()
	ours := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "POSTBOX_") })
	if len(ours) == 0 {
		t.Errorf("%s sets nothing", where)
	}
	if _, err := configs.Load(configs.Sources{Env: ours}); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

// unit reads a systemd unit: its values by "Section.Key".
func unit(t *testing.T, text string) map[string][]string {
	t.Helper()
	values, section := map[string][]string{}, ""
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		line := s.Text()
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case !ok:
			t.Errorf("line %q", line)
		default:
			values[section+"."+key] = append(values[section+"."+key], value)
		}
	}
	return values
}

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	u := unit(t, read(t, "configs/postbox.service"))
	accepts(t, "ExecStart", strings.Fields(strings.Join(u["Service.ExecStart"], " ")))
	known(t, "Environment", u["Service.Environment"])
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.DynamicUser": "yes", "Service.StateDirectory": "postbox",
		"Service.KillMode": "mixed", "Service.NoNewPrivileges": "yes", "Service.ProtectSystem": "strict",
		"Service.CapabilityBoundingSet": "", "Service.LimitNOFILE": "65536", "Install.WantedBy": "multi-user.target",
	} {
		if got := u[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if _, set := u["Service.User"]; set {
		t.Error("User with DynamicUser")
	}
	// The embedded database lies where the unit may write.
	for _, line := range u["Service.Environment"] {
		if _, dir, ok := strings.Cut(line, "EMBEDDED_DIR="); ok && !strings.HasPrefix(dir, "/var/lib/"+u["Service.StateDirectory"][0]+"/") {
			t.Errorf("%s is outside of the state directory", dir)
		}
	}
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	text := read(t, "configs/compose.yaml")
	var file struct {
		Name     string
		Services map[string]struct {
			Image, Build, Restart string
			EnvFile               string `yaml:"env_file"`
			Environment           map[string]string
			Healthcheck           struct{ Test []string }
			DependsOn             map[string]struct{ Condition string } `yaml:"depends_on"`
			Ports, Volumes        []string
			Grace                 string `yaml:"stop_grace_period"`
			ReadOnly              bool   `yaml:"read_only"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	ours, db := file.Services["postbox"], file.Services["postgres"]
	if len(ours.Healthcheck.Test) < 2 || ours.Healthcheck.Test[0] != "CMD" || len(db.Healthcheck.Test) < 2 {
		t.Fatalf("health checks %v, %v", ours.Healthcheck.Test, db.Healthcheck.Test)
	}
	accepts(t, "healthcheck", ours.Healthcheck.Test[1:])
	if ours.DependsOn["postgres"].Condition != "service_healthy" {
		t.Error("postbox does not wait for a healthy postgres")
	}
	for name, s := range file.Services {
		if s.EnvFile != "compose.env" || s.Grace == "" || s.Restart == "" {
			t.Errorf("%s: env_file %q, stop_grace_period %q, restart %q", name, s.EnvFile, s.Grace, s.Restart)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s to everybody", name, port)
			}
		}
	}
	if len(db.Ports) > 0 || len(db.Volumes) == 0 {
		t.Errorf("postgres: ports %v, volumes %v", db.Ports, db.Volumes)
	}
	var major int
	if _, err := fmt.Sscanf(db.Image, "postgres:%d-", &major); err != nil || major < 14 || major > 18 {
		t.Errorf("image %q", db.Image)
	}
	// Of 18 and later the image keeps its data one directory higher.
	if major >= 18 && strings.Contains(db.Volumes[0], "/data") {
		t.Error("the volume of PostgreSQL 18 is /var/lib/postgresql")
	}
	if strings.Contains(strings.ToLower(text), "_password:") || strings.Contains(text, "postgres://") {
		t.Error("a secret in compose.yaml: it belongs into compose.env")
	}
	example := strings.Split(read(t, "configs/compose.env.example"), "\n")
	known(t, "compose.env.example", example)
	if !strings.Contains(read(t, ".gitignore"), "compose.env") || !strings.Contains(read(t, ".dockerignore"), "compose.env") {
		t.Error("compose.env could be committed, or end in an image")
	}
}

var dockerPair = regexp.MustCompile(`POSTBOX_[A-Z_]+=\S+`)

func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	final := text[strings.LastIndex(text, "\nFROM "):]
	known(t, "ENV", dockerPair.FindAllString(final[strings.Index(final, "\nENV "):], -1))
	for _, want := range []string{"\nUSER 65532:65532\n", "\nHEALTHCHECK ", "\nEXPOSE 1883 8080\n"} {
		if !strings.Contains(final, want) {
			t.Errorf("no %q in the final image", strings.TrimSpace(want))
		}
	}
	commands := regexp.MustCompile(`(?:CMD|ENTRYPOINT) \[(.*)\]`).FindAllStringSubmatch(final, -1)
	if len(commands) != 3 {
		t.Fatalf("%d commands, want health check, entry point and its arguments", len(commands))
	}
	words := func(n int) (w []string) {
		for word := range strings.SplitSeq(commands[n][1], ",") {
			w = append(w, strings.Trim(strings.TrimSpace(word), `"`))
		}
		return w
	}
	accepts(t, "HEALTHCHECK", words(0))
	accepts(t, "ENTRYPOINT", append(words(1), words(2)...))
	goMod := read(t, "go.mod")
	var from, needs string
	if m := regexp.MustCompile(`(?m)^FROM golang:(\d+\.\d+)`).FindStringSubmatch(text); m != nil {
		from = m[1]
	}
	if m := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(goMod); m != nil {
		needs = m[1]
	}
	if from == "" || from != needs {
		t.Errorf("the Dockerfile builds with Go %q, go.mod needs %q", from, needs)
	}
}
