package proof

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

// PageEvent is what a page of the browser tells: an EventSource has opened, has
// lost its connection, or has a message.
type PageEvent struct {
	Event  string `json:"event"` // open, error, message
	Page   int    `json:"page"`
	ID     string `json:"id"`
	Data   string `json:"data"`
	Closed bool   `json:"closed"` // the EventSource has given up
}

// StartBrowser opens the inbox of a user at each of these origins, in a page of
// its own, from the beginning. Told is called from one goroutine. The browser
// ends with the test.
func StartBrowser(t testing.TB, user, password string, origins []string, told func(PageEvent)) {
	t.Helper()
	cmd := exec.Command(tool(t, "node"), "eventsource.mjs")
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
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for d := json.NewDecoder(out); ; {
			var e PageEvent
			if d.Decode(&e) != nil {
				return
			}
			told(e)
		}
	}()
	t.Cleanup(func() {
		in.Close()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the browser does not end")
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = cmd.Wait()
	})
	err = json.NewEncoder(in).Encode(map[string]any{"program": tool(t, "chromium"), "origins": origins, "user": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
}
