package proof

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// pageLine is what the browser's side asks for or tells.
type pageLine struct {
	Ask     string         `json:"ask"`
	Story   string         `json:"story"`
	Seconds float64        `json:"seconds"`
	Faults  []string       `json:"faults"`
	Figures map[string]any `json:"figures"`
}

// The chat page does what people need, on the assembled server, in a real browser:
// nothing that was written is lost or doubled when the server is killed or the page
// loaded again. The long form tells all stories, and takes a picture of each state.
func TestChatPage(t *testing.T) {
	stories := []string{"everyday"}
	config := map[string]any{"program": tool(t, "chromium"), "patience": patience.Milliseconds()}
	if os.Getenv("POSTBOX_TEST_SOAK") == "1" {
		stories = append(stories, "late", "places", "notify", "tabs", "long", "lineage", "pictures")
		shots, err := filepath.Abs("../../bin/page")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(shots, 0o755); err != nil {
			t.Fatal(err)
		}
		config["shots"] = shots
	}
	config["stories"] = stories
	server := StartServer(t, ServerOptions{NoRace: true, Env: []string{"POSTBOX_REGISTRATION=open", "POSTBOX_LIMITS_REQUEST_RATE=0"}})
	config["origin"] = "http://" + server.HTTP + "/"

	cmd := exec.Command(tool(t, "node"), filepath.Join("page", "run.mjs"))
	cmd.Dir, cmd.Stderr = jsDir(t), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	endWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	late := time.AfterFunc(20*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	write := json.NewEncoder(in)
	if err := write.Encode(config); err != nil {
		t.Fatal(err)
	}
	told := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line pageLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("the browser's side says %q", lines.Text())
			continue
		}
		if line.Ask != "" {
			servePage(t, server, line.Ask)
			if err := write.Encode(map[string]bool{"done": true}); err != nil {
				t.Error(err)
			}
			continue
		}
		told++
		t.Logf("%s: %.0f s, %v", line.Story, line.Seconds, line.Figures)
		for _, fault := range line.Faults {
			t.Errorf("%s: %s", line.Story, fault)
		}
	}
	if err := cmd.Wait(); err != nil || told != len(stories) {
		t.Errorf("the browser's side ended with %v after %d of %d stories", err, told, len(stories))
	}
}

// servePage does with the server what a story asks for.
func servePage(t *testing.T, s *Server, what string) {
	t.Helper()
	switch what {
	case "kill":
		s.Kill9()
	case "restart":
		s.Restart()
	case "epoch":
		if out := s.Command("", "epoch", "new"); out.Code != 0 {
			t.Errorf("epoch new: exit %d\n%s%s", out.Code, out.Stdout, out.Stderr)
		}
	default:
		t.Errorf("a story asks for %q", what)
	}
}
