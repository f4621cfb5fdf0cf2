package proof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Way is one way to ask the server for an operation (docs/spec.md §7). Ask sends
// a request as it is and returns the reply as it comes.
type Way struct {
	Name string
	User string
	Ask  func(t *testing.T, operation, request string) string
}

// curlWay asks over HTTP with Basic authentication.
func curlWay(s *Server, user, password string) Way {
	return Way{"curl", user, func(t *testing.T, operation, request string) string {
		t.Helper()
		cmd := exec.Command(tool(t, "curl"), "-sS", "--max-time", "30", "-u", user+":"+password,
			"-H", "Content-Type: application/json", "--data-binary", "@-", "http://"+s.HTTP+"/v1/"+operation)
		cmd.Stdin = strings.NewReader(request)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("curl %s: %v: %s", operation, err, out)
		}
		return string(out)
	}}
}

// replies waits for what comes to reply topics.
type replies struct {
	mu  sync.Mutex // guards all
	got map[string]string
	new chan struct{}
}

func newReplies() *replies { return &replies{got: make(map[string]string), new: make(chan struct{})} }

func (r *replies) add(name string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[name] = string(body)
	close(r.new)
	r.new = make(chan struct{})
}

func (r *replies) wait(t *testing.T, name, what string) string {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		body, ok := r.got[name]
		next := r.new
		r.mu.Unlock()
		if ok {
			return body
		}
		select {
		case <-next:
		case <-limit:
			t.Fatalf("no reply to %s", what)
		}
	}
}

// jsWay asks by MQTT.js in MQTT 5, with a response topic and correlation data.
func jsWay(t *testing.T, s *Server, d *Driver, user, password string) Way {
	t.Helper()
	got := newReplies()
	topic := "reply/" + user + "/js/answers"
	c := d.Connect(ClientOptions{
		Library: MQTTJS, URL: "ws://" + s.HTTP + "/mqtt", Version: 5, ID: "js", User: user, Password: password, Clean: true,
		Subscribe: []Subscription{{topic, 0}},
		OnMessage: func(m Delivery) { got.add(m.Correlation, m.Body) },
	})
	c.WaitUp(t)
	n := 0
	return Way{"MQTT.js", user, func(t *testing.T, operation, request string) string {
		t.Helper()
		n++
		name := fmt.Sprint("request ", n)
		if a := c.Send(t, Publication{
			N: n, Topic: "api/v1/" + operation, QoS: 1, Body: []byte(request), ResponseTopic: topic, Correlation: name,
		}); a.Error != "" {
			t.Fatalf("MQTT.js %s: %s", operation, a.Error)
		}
		return got.wait(t, name, operation)
	}}
}

// rrWay asks by mosquitto_rr in MQTT 3.1.1: the reply comes to the device's own
// topic.
func rrWay(s *Server, user, password string) Way {
	return Way{"mosquitto_rr", user, func(t *testing.T, operation, request string) string {
		t.Helper()
		m := Mosquitto{s.MQTT, "311", "rr/1 +", user, password}
		out := m.Request(t, "reply/"+user+"/rr%2F1%20%2B", Publication{Topic: "api/v1/" + operation, QoS: 1, Body: []byte(request)})
		if out.Code != 0 {
			t.Fatalf("mosquitto_rr %s: exit %d: %s", operation, out.Code, out.Stderr)
		}
		return strings.TrimSuffix(out.Stdout, "\n")
	}}
}

// pairWay asks by mosquitto_pub, with mosquitto_sub on another connection: the
// request says where the reply goes. A request that says nothing sensible is
// answered at the publishing device's own topic.
func pairWay(t *testing.T, s *Server, user, password string) Way {
	t.Helper()
	got := newReplies()
	Mosquitto{s.MQTT, "311", "listener", user, password}.Subscribe(t, "reply/"+user+"/+", func(d Delivery) {
		got.add(strings.TrimPrefix(d.Topic, "reply/"+user+"/"), d.Body)
	}, "-q", "0")
	n := 0
	return Way{"mosquitto_pub and mosquitto_sub", user, func(t *testing.T, operation, request string) string {
		t.Helper()
		n++
		name := fmt.Sprint("pair-", n)
		device := fmt.Sprint("asker-", n)
		var fields map[string]any
		if json.Unmarshal([]byte(request), &fields) == nil && fields != nil {
			rest := strings.TrimPrefix(strings.TrimSpace(request), "{")
			comma := ","
			if len(fields) == 0 {
				comma = ""
			}
			request = `{"reply":"` + name + `"` + comma + rest
		} else {
			name = device
		}
		m := Mosquitto{s.MQTT, "311", device, user, password}
		if out := m.Publish(t, Publication{Topic: "api/v1/" + operation, QoS: 1, Body: []byte(request)}); out.Code != 0 {
			t.Fatalf("mosquitto_pub %s: exit %d: %s", operation, out.Code, out.Stderr)
		}
		return got.wait(t, name, operation)
	}}
}

// compact is JSON without what differs from one asker to the next: names that
// begin with the asker's own, ids, times, the epoch. What stood first under a
// name keeps it: two ids that differ stay different.
type compact struct {
	way  Way
	seen map[string]string
}

func (c *compact) of(t *testing.T, reply string) string {
	t.Helper()
	var v any
	dec := json.NewDecoder(strings.NewReader(reply))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: the reply is no JSON: %v: %s", c.way.Name, err, reply)
	}
	v = c.walk("", v)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func (c *compact) walk(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if key == "" {
			if id, ok := v["request_id"].(string); ok && !strings.HasPrefix(id, "mine") {
				delete(v, "request_id") // the HTTP edge gives one to every request
			}
		}
		delete(v, "device") // HTTP knows none
		for k, x := range v {
			v[k] = c.walk(k, x)
		}
	case []any:
		for i, x := range v {
			v[i] = c.walk(key, x)
		}
	case string:
		switch {
		case key == "epoch":
			return "EPOCH"
		case strings.HasSuffix(key, "_at") || key == "last_seen":
			return "TIME"
		case uuidV7.MatchString(v):
			if c.seen[v] == "" {
				c.seen[v] = fmt.Sprint("ID ", len(c.seen)+1)
			}
			return c.seen[v]
		}
		v = strings.ReplaceAll(v, ", reply", "") // a field of MQTT alone
		return strings.ReplaceAll(v, c.way.User, "ME")
	}
	return v
}
