package client_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"postbox"
	"postbox/client"
)

// bot is the program of docs/clients/go.md, as it stands there, in a directory of
// its own.
type bot struct {
	t        testing.TB
	w        *world
	dir      string
	program  string
	answered map[string]int // lines by the number of the message
}

func newBot(t testing.TB, w *world) *bot {
	t.Helper()
	page, err := os.ReadFile("../docs/clients/go.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllSubmatch(page, -1)
	if len(blocks) != 1 {
		t.Fatalf("docs/clients/go.md has %d blocks of Go, want the bot alone", len(blocks))
	}
	b := &bot{t: t, w: w, dir: t.TempDir(), answered: make(map[string]int)}
	source := filepath.Join(b.dir, "bot.go")
	if err := os.WriteFile(source, blocks[0][1], 0o600); err != nil {
		t.Fatal(err)
	}
	b.program = filepath.Join(b.dir, "bot")
	build := exec.Command("go", "build", "-o", b.program, source)
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the bot: %v\n%s", err, out)
	}
	return b
}

// run lets the bot answer so many times, or all messages there are, and kills it,
// in the middle of whatever it does then.
func (b *bot) run(device string, answers, messages int) {
	b.t.Helper()
	cmd := exec.CommandContext(bounded(b.t), b.program)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "BOT_SERVER="+b.w.url, "BOT_PASSWORD="+b.w.password, "BOT_DEVICE="+device)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var seq, duplicate string
		if _, err := fmt.Sscanf(lines.Text(), "answered %s duplicate %s", &seq, &duplicate); err != nil {
			b.t.Errorf("the bot says %q", lines.Text())
		}
		b.answered[seq]++
		if n++; n == answers || len(b.answered) == messages {
			_ = cmd.Process.Kill() // SIGKILL; what it has written meanwhile is read
		}
	}
	_ = cmd.Wait()
	if n < answers && len(b.answered) < messages {
		b.t.Fatalf("the bot ended after %d of %d answers: %s", n, answers, errs.String())
	}
}

// A bot that is killed again and again, under an old device name or a new one,
// handles each message at least once, and answers each exactly once.
func TestABotThatIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const messages = 1000
	alice, b := dial(t, sendOnly(w.as("alice"))), newBot(t, w)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))

	// The bot has been there before, so it has a place.
	o := w.as("bob")
	o.Cursor = client.CursorFile(filepath.Join(b.dir, "bot.cursor"))
	closeNow(t, dial(t, o))
	var sending sync.WaitGroup
	var mu sync.Mutex
	sent := make(map[string]postbox.Seq) // by body
	first := postbox.Seq(0)
	for s := range 10 {
		sending.Go(func() {
			for i := range messages / 10 {
				body := fmt.Sprint(s, "-", i)
				r, err := alice.Send(t.Context(), "bob", []byte(body))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sent[body] = r.Seq
				if first == 0 || r.Seq < first {
					first = r.Seq
				}
				mu.Unlock()
			}
		})
	}
	device, kills := o.Device, 0
	for len(b.answered) < messages && !t.Failed() {
		if chance.IntN(2) == 0 {
			device = w.as("bob").Device
		}
		b.run(device, 1+chance.IntN(140), messages)
		kills++
	}
	sending.Wait()

	lines := 0
	for body, seq := range sent {
		n := b.answered[fmt.Sprint(seq)]
		if lines += n; n == 0 {
			t.Errorf("the message %s was never handled", body)
		}
	}
	t.Logf("killed %d times, %d messages handled %d times", kills, len(sent), lines)
	if kills < 8 {
		t.Errorf("killed only %d times", kills)
	}
	// What was acknowledged a moment before a kill is not handled again: a bot
	// that began anew each time would repeat thousands.
	if lines > messages+kills*64 {
		t.Errorf("%d messages were handled %d times over %d kills", messages, lines, kills)
	}
	answers := make(map[string]int)
	for m, err := range alice.Messages(bounded(t), client.With("bob"), client.AtSeq(first-1)) {
		if err != nil {
			t.Fatal(err)
		}
		if body, ok := strings.CutPrefix(string(m.Body), "You said: "); ok && m.From == "bob" {
			answers[body]++
		}
	}
	for body := range sent {
		if answers[body] != 1 {
			t.Errorf("the message %s has %d answers", body, answers[body])
		}
	}
}
