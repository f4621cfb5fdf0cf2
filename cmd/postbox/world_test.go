package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/configs"
	"postbox/internal/pgtest"
	"postbox/store"
)

// patience bounds every wait for something that must happen. No test waits for it
// to pass.
const patience = 30 * time.Second

// secret is everybody's password.
const secret = "correct horse"

var secretHash = sync.OnceValues(func() (string, error) { return auth.HashPassword(secret) })

// world is a server and people with the command line.
type world struct {
	t      testing.TB
	config configs.Config
	url    string // of the database
	store  *store.Store
	server *broker.Server
	http   string // of the server
}

// newWorld starts a server on which alice, bob and carol have accounts; change may
// adapt its settings. Rates are off.
func newWorld(t testing.TB, change ...func(*configs.Config)) *world {
	t.Helper()
	w := &world{t: t, url: pgtest.New(t), config: configs.Default()}
	w.config.Listen = configs.Listen{MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Private: "127.0.0.1:0"}
	l := &w.config.Limits
	l.PublishRate, l.PacketRate, l.ConnectRate, l.RequestRate = 0, 0, 0, 0
	for _, f := range change {
		f(&w.config)
	}
	var err error
	if w.store, err = store.Open(store.Options{URL: w.url, PoolSize: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	hash, err := secretHash()
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range demoUsers {
		if _, err := w.store.AddUser(t.Context(), user, hash, false); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		server, err := broker.New(ctx, broker.Options{
			Config: w.config, DatabaseURL: w.url, Logger: slog.New(slog.DiscardHandler), Version: "test",
			Fenced: func() { w.t.Error("the server was fenced") }, Replaced: func() { w.t.Error("the server was replaced") },
		})
		if errors.Is(err, store.ErrOwned) && ctx.Err() == nil {
			continue // PostgreSQL has not noticed yet that the last one is gone
		}
		if err == nil {
			w.server, err = server, server.Start(ctx)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		break
	}
	// The next one is to be found at the same place.
	w.config.Listen.HTTP = w.server.Addresses().HTTP
	w.http = "http://" + w.config.Listen.HTTP
}

func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		w.t.Errorf("shutdown: %v", err)
	}
}

// person is somebody at a terminal, with a directory of settings of their own.
type person struct {
	t    testing.TB
	dir  string
	env  map[string]string
	name postbox.User
}

// person logs in.
func (w *world) person(name postbox.User) *person {
	w.t.Helper()
	p := newPerson(w.t, name)
	p.ok(secret+"\n", "login", "--url", w.http, string(name))
	return p
}

func newPerson(t testing.TB, name postbox.User) *person {
	return &person{t: t, dir: t.TempDir(), env: map[string]string{}, name: name}
}

// output is what a command printed and how it ended.
type output struct {
	out, err string
	code     int
}

// globals are a command's surroundings; out may be nil.
func (p *person) globals(stdin string, out, errs io.Writer) *globals {
	return &globals{
		Stdin: strings.NewReader(stdin), Stdout: out, Stderr: errs,
		Env: func(name string) string { return p.env[name] }, ConfigDir: func() (string, error) { return p.dir, nil },
	}
}

// run types a command.
func (p *person) run(stdin string, args ...string) output {
	var out, errs bytes.Buffer
	code := p.globals(stdin, &out, &errs).run(p.t.Context(), args)
	return output{out.String(), errs.String(), code}
}

// ok types a command that must do what it says, and returns what it prints.
func (p *person) ok(stdin string, args ...string) string {
	p.t.Helper()
	o := p.run(stdin, args...)
	if o.code != exitDone || o.err != "" {
		p.t.Fatalf("%s: postbox %q: exit %d\n%s%s", p.name, args, o.code, o.out, o.err)
	}
	return o.out
}

// fails types a command that must end with a code and one line that has a text.
func (p *person) fails(code int, text string, args ...string) {
	p.t.Helper()
	o := p.run("", args...)
	if o.code != code || !strings.Contains(o.err, text) || strings.Count(o.err, "\n") != 1 {
		p.t.Errorf("postbox %q: exit %d, %q; want exit %d and one line with %q", args, o.code, o.err, code, text)
	}
}

// process is postbox as a process of its own, with this person's settings.
func (p *person) process(args ...string) *exec.Cmd {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	// Under its name, so that a shell finds it.
	bin := filepath.Join(p.dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Join(bin, "postbox")
	if err := os.Symlink(self, path); err != nil && !errors.Is(err, os.ErrExist) {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), path, args...)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "XDG_CONFIG_HOME=" + p.dir, "HOME=" + p.dir, asCommand + "=1"}
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// lines is an output that is waited for.
type lines struct {
	mu   sync.Mutex // guards all below
	text []byte
	more chan struct{}
	at   []time.Time // when each line was whole
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	for range bytes.Count(b, []byte("\n")) {
		l.at = append(l.at, time.Now())
	}
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return len(b), nil
}

// await waits for so many lines, and returns them all.
func (l *lines) await(t testing.TB, n int) []string {
	t.Helper()
	limit := time.After(patience)
	for {
		l.mu.Lock()
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more, text, have := l.more, string(l.text), len(l.at)
		l.mu.Unlock()
		if have >= n {
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("%d of %d lines after %v, the last:\n%s", have, n, patience, text[max(0, len(text)-1000):])
		}
	}
}

// when is the time of a line, the first being 0.
func (l *lines) when(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at[n]
}

// background runs a command until the test ends or end is called, which returns
// its exit code.
func (p *person) background(out, errs io.Writer, args ...string) (end func() int) {
	ctx, cancel := context.WithCancel(p.t.Context())
	code := make(chan int, 1)
	go func() { code <- p.globals("", out, errs).run(ctx, args) }()
	end = sync.OnceValue(func() int {
		cancel()
		return <-code
	})
	p.t.Cleanup(func() { end() })
	return end
}
