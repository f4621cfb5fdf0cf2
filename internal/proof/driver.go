package proof

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Subscription is a filter and the QoS asked for.
type Subscription struct {
	Topic string `json:"topic"`
	QoS   byte   `json:"qos"`
}

// Library is an MQTT library that a driver process can run.
type Library string

// The libraries of the driver processes.
const (
	Paho3  Library = "paho3"  // paho.mqtt.golang, MQTT 3.1.1
	Paho5  Library = "paho5"  // paho.golang (autopaho), MQTT 5
	MQTTJS Library = "mqttjs" // MQTT.js, MQTT 3.1.1 and 5, TCP and WebSocket
)

// ClientOptions describe a client to be connected by a driver.
type ClientOptions struct {
	Library   Library        `json:"library"`
	URL       string         `json:"url"`     // mqtt://host:port or ws://host:port/mqtt
	Version   int            `json:"version"` // of MQTT.js: 4 or 5
	ID        string         `json:"id"`
	User      string         `json:"user"`
	Password  string         `json:"password"`
	Clean     bool           `json:"clean"`
	Expiry    uint32         `json:"expiry"` // session expiry in seconds, MQTT 5
	Subscribe []Subscription `json:"subscribe"`

	// OnMessage gets everything delivered, from one goroutine. It must not
	// block.
	OnMessage func(Delivery) `json:"-"`
}

// Publication is what a driver's client is to publish.
type Publication struct {
	N           int               `json:"n"` // named in the answer
	Topic       string            `json:"topic"`
	QoS         byte              `json:"qos"`
	Body        []byte            `json:"body"`
	ContentType string            `json:"content_type,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	// ResponseTopic and Correlation are for MQTT.js with MQTT 5 only.
	ResponseTopic string `json:"response_topic,omitempty"`
	Correlation   string `json:"correlation,omitempty"`
	// Queue keeps the order of a stream of publishes; no Answer comes then.
	Queue bool `json:"queue,omitempty"`
}

// Delivery is a message that a client got from the server.
type Delivery struct {
	Topic       string
	QoS         byte
	Dup, Retain bool
	Body        []byte
	User        map[string][]string
	ContentType string
	UTF8        bool   // payload format indicator 1
	Correlation string // by MQTT.js only
}

// Event is one line that a driver process tells.
type Event struct {
	Event       string              `json:"event"`
	Client      string              `json:"client"`
	Session     bool                `json:"session"`
	Codes       []int               `json:"codes"`
	N           int                 `json:"n"`
	Code        any                 `json:"code"`
	Error       string              `json:"error"`
	Topic       string              `json:"topic"`
	QoS         byte                `json:"qos"`
	Dup         bool                `json:"dup"`
	Retain      bool                `json:"retain"`
	Body        []byte              `json:"body"`
	User        map[string][]string `json:"user"`
	ContentType string              `json:"content_type"`
	UTF8        bool                `json:"utf8"`
	Correlation string              `json:"correlation"`
}

// code is Code as a number: MQTT.js gives strings for the errors of the
// network.
func (e Event) code() int {
	n, _ := e.Code.(float64)
	return int(n)
}

// Driver is a process that runs real MQTT clients: driver (Go) or js/driver.mjs.
type Driver struct {
	t     testing.TB
	mu    sync.Mutex // guards writes to in and clients
	in    *bufio.Writer
	pipe  io.Closer
	cmd   *exec.Cmd
	names map[string]*Client
	ended chan struct{}
}

// StartGoDriver starts a process for Paho3 and Paho5 clients, with more in its
// environment, NAME=value. It ends with the test.
func StartGoDriver(t testing.TB, env ...string) *Driver {
	t.Helper()
	cmd := exec.Command(goBinary(t, "./driver", false))
	cmd.Env = append(os.Environ(), env...)
	return startDriver(t, cmd)
}

// StartNodeDriver starts a process for MQTTJS clients, with more in its
// environment, NAME=value. It ends with the test.
func StartNodeDriver(t testing.TB, env ...string) *Driver {
	t.Helper()
	cmd := exec.Command(tool(t, "node"), "driver.mjs")
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = jsDir(t)
	return startDriver(t, cmd)
}

func startDriver(t testing.TB, cmd *exec.Cmd) *Driver {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	endWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start driver: %v", err)
	}
	d := &Driver{t: t, in: bufio.NewWriterSize(in, 64<<10), pipe: in, cmd: cmd, names: map[string]*Client{}, ended: make(chan struct{})}
	go d.read(out)
	t.Cleanup(func() {
		in.Close()
		select {
		case <-d.ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-d.ended
		}
		_ = cmd.Wait()
	})
	return d
}

func (d *Driver) read(out io.Reader) {
	defer close(d.ended)
	dec := json.NewDecoder(bufio.NewReaderSize(out, 256<<10))
	for {
		var e Event
		if err := dec.Decode(&e); err != nil {
			return
		}
		d.mu.Lock()
		c := d.names[e.Client]
		d.mu.Unlock()
		c.handle(e)
	}
}

// do writes one command line.
func (d *Driver) do(op, client string, args any) {
	line, err := json.Marshal(args)
	if err != nil {
		d.t.Errorf("encode command: %v", err)
		return
	}
	head, _ := json.Marshal(map[string]string{"op": op, "client": client})
	if string(line) != "{}" {
		line = append(append(head[:len(head)-1], ','), line[1:]...)
	} else {
		line = head
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in.Write(append(line, '\n'))
	d.in.Flush()
}

// Connect makes a client connect; it does not wait for the outcome.
func (d *Driver) Connect(o ClientOptions) *Client {
	c := &Client{
		ClientOptions: o, d: d, name: o.User + "/" + o.ID + "/" + string(o.Library),
		changed: make(chan struct{}), answers: map[int]Event{},
	}
	d.mu.Lock()
	for d.names[c.name] != nil {
		c.name += "'"
	}
	d.names[c.name] = c
	d.mu.Unlock()
	d.do("connect", c.name, struct {
		ClientOptions
		ReconnectMS int `json:"reconnect_ms"`
	}{o, 200})
	return c
}

// jsDir is the folder of what runs in Node, with its packages installed.
func jsDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("js")
	if err != nil {
		t.Fatal(err)
	}
	npmInstall.Do(func() {
		_, mqtt := os.Stat(filepath.Join(dir, "node_modules", "mqtt"))
		_, browser := os.Stat(filepath.Join(dir, "node_modules", "playwright-core"))
		if mqtt == nil && browser == nil {
			return
		}
		cmd := exec.Command(tool(t, "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm ci in %s: %v\n%s", dir, err, out)
		}
	})
	return dir
}

var npmInstall sync.Once

// tool finds a program that the proofs need.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("the proofs need %s: %v", name, err)
	}
	return path
}
