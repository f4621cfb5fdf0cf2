package proof

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Mosquitto is one account and device as the mosquitto programs are told.
type Mosquitto struct {
	Addr     string // host:port
	Version  string // of MQTT: "31", "311" or "5"
	ID       string
	User     string
	Password string
}

func (m Mosquitto) args(more ...string) []string {
	host, port, _ := net.SplitHostPort(m.Addr)
	version := "mqttv" + m.Version
	if m.Version == "5" {
		version = "5"
	}
	args := []string{"-h", host, "-p", port, "-V", version, "-i", m.ID}
	if m.User != "" { // else a certificate says who it is
		args = append(args, "-u", m.User, "-P", m.Password)
	}
	return append(args, more...)
}

// Publish runs mosquitto_pub for one message. Its exit code is not an
// acknowledgement: ask a tap.
func (m Mosquitto) Publish(t testing.TB, p Publication, extra ...string) Output {
	t.Helper()
	args := append([]string{"-t", p.Topic, "-q", string('0' + rune(p.QoS))}, extra...)
	if p.ContentType != "" {
		args = append(args, "-D", "publish", "content-type", p.ContentType)
	}
	if len(p.Body) == 0 {
		args = append(args, "-n")
	} else {
		args = append(args, "-f", bodyFile(t, p.Body))
	}
	return m.run(t, "mosquitto_pub", args...)
}

// Request runs mosquitto_rr: it subscribes to answer, publishes, and prints
// the first message that comes. The body must be text.
func (m Mosquitto) Request(t testing.TB, answer string, p Publication) Output {
	t.Helper()
	return m.run(t, "mosquitto_rr", "-e", answer, "-t", p.Topic, "-q", string('0'+rune(p.QoS)), "-W", "20", "-m", string(p.Body))
}

// bodyFile puts a body where a mosquitto program can read it.
func bodyFile(t testing.TB, body []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (m Mosquitto) run(t testing.TB, program string, args ...string) Output {
	t.Helper()
	cmd := exec.Command(tool(t, program), m.args(args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", program, err)
	}
	return Output{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Process is a mosquitto program that goes on running.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{}

	mu    sync.Mutex
	lines []string // of the program's debug output
	more  chan struct{}
}

// Subscribe runs mosquitto_sub with the extra arguments, for example -c for a
// session, until Stop or the end of the test. It waits until the subscription
// is granted or refused; onMessage gets what comes and must not block.
func (m Mosquitto) Subscribe(t testing.TB, filter string, onMessage func(Delivery), extra ...string) *Process {
	t.Helper()
	args := m.args(append([]string{"-t", filter, "-d", "-F", "=%q %r %t %x"}, extra...)...)
	p := m.start(t, "mosquitto_sub", args, func(line string) {
		if d, ok := parseSubLine(line); ok {
			onMessage(d)
		}
	})
	p.WaitLine("Subscribed (mid:", "All subscription requests were denied")
	return p
}

// parseSubLine reads "=qos retain topic hex". Topics of the proofs have no
// space.
func parseSubLine(line string) (Delivery, bool) {
	rest, ok := strings.CutPrefix(line, "=")
	words := strings.Split(rest, " ")
	if !ok || len(words) != 4 {
		return Delivery{}, false
	}
	body, err := hex.DecodeString(words[3])
	if err != nil {
		return Delivery{}, false
	}
	return Delivery{QoS: words[0][0] - '0', Retain: words[1] == "1", Topic: words[2], Body: body}, true
}

// PublishLines runs mosquitto_pub -l: each line given to WriteLine becomes a
// message, and the program reconnects by itself and sends again with DUP.
func (m Mosquitto) PublishLines(t testing.TB, topic string, qos byte) *Process {
	t.Helper()
	return m.start(t, "mosquitto_pub", m.args("-t", topic, "-q", string('0'+rune(qos)), "-l", "-d"), nil)
}

func (m Mosquitto) start(t testing.TB, program string, args []string, onLine func(string)) *Process {
	t.Helper()
	// By lines: into a pipe the programs would keep what they say.
	cmd := exec.Command(tool(t, "stdbuf"), append([]string{"-oL", tool(t, program)}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	endWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	p := &Process{t: t, cmd: cmd, in: in, ended: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(p.ended)
		r := bufio.NewReaderSize(out, 256<<10)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "=") && onLine != nil {
				onLine(line)
				continue
			}
			p.mu.Lock()
			if len(p.lines) == 10_000 {
				p.lines = slices.Delete(p.lines, 100, 5000)
			}
			p.lines = append(p.lines, line)
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		ended := "still running"
		select {
		case <-p.ended:
			ended = p.cmd.ProcessState.String()
		default:
		}
		p.Stop()
		if lines := p.Lines(); t.Failed() {
			t.Logf("%s: %s", program, ended)
			t.Logf("the last that %s said:\n%s", program, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	return p
}

// WriteLine gives a line to mosquitto_pub -l. It may block while the program
// is busy.
func (p *Process) WriteLine(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// Lines is what the program said about itself, without messages.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// WaitLine waits until the program has printed one of the texts.
func (p *Process) WaitLine(texts ...string) string {
	p.t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		more := p.more
		for _, l := range p.lines {
			for _, text := range texts {
				if strings.Contains(l, text) {
					p.mu.Unlock()
					return l
				}
			}
		}
		p.mu.Unlock()
		select {
		case <-more:
		case <-p.ended:
			p.t.Fatalf("%s ended (%v) before it printed %q:\n%s", p.cmd.Args[2], p.cmd.ProcessState, texts, strings.Join(p.Lines(), "\n"))
		case <-limit:
			p.t.Fatalf("%s has not printed %q after %v:\n%s", p.cmd.Args[2], texts, patience, strings.Join(p.Lines(), "\n"))
		}
	}
}

// Stop ends the program: mosquitto_sub sends a DISCONNECT on SIGINT.
func (p *Process) Stop() {
	p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Kill ends the program without a DISCONNECT.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Wait waits until the program has ended by itself and returns its exit code.
func (p *Process) Wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Fatalf("%s has not ended after %v", p.cmd.Args[2], limit)
	}
	return p.cmd.ProcessState.ExitCode()
}
