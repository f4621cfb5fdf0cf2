// Command driver runs Paho clients for the proofs: one JSON object per line on
// stdin says what to do, one per line on stdout says what happened. The
// libraries are used as they come, at their default settings but for client
// id, session and reconnect delay. ../js/driver.mjs takes the same lines.
//
// The clients run in this process, and not in that of the tests, so that the
// race detector judges Postbox and not them, and so that they cannot share
// anything with the server but the wire.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

type subscription struct {
	Topic string `json:"topic"`
	QoS   byte   `json:"qos"`
}

// command is one line of stdin.
type command struct {
	Op     string `json:"op"` // connect, publish, disconnect
	Client string `json:"client"`

	// connect
	Library     string         `json:"library"` // paho3: paho.mqtt.golang, paho5: paho.golang
	URL         string         `json:"url"`
	ID          string         `json:"id"`
	User        string         `json:"user"`
	Password    string         `json:"password"`
	Clean       bool           `json:"clean"`
	Expiry      uint32         `json:"expiry"`
	ReconnectMS int            `json:"reconnect_ms"`
	Subscribe   []subscription `json:"subscribe"`

	// publish
	N           int               `json:"n"`
	Topic       string            `json:"topic"`
	QoS         byte              `json:"qos"`
	Body        []byte            `json:"body"`
	ContentType string            `json:"content_type"`
	Properties  map[string]string `json:"properties"`
	// Queue hands the publish to the library's queue, which keeps the order;
	// no answer is told then.
	Queue bool `json:"queue"`
}

// event is one line of stdout.
type event struct {
	Event       string              `json:"event"`
	Client      string              `json:"client"`
	Session     bool                `json:"session,omitempty"`
	Codes       []int               `json:"codes,omitempty"`
	N           int                 `json:"n,omitempty"`
	Code        int                 `json:"code,omitempty"`
	Error       string              `json:"error,omitempty"`
	Topic       string              `json:"topic,omitempty"`
	QoS         byte                `json:"qos,omitempty"`
	Dup         bool                `json:"dup,omitempty"`
	Retain      bool                `json:"retain,omitempty"`
	Body        []byte              `json:"body,omitempty"`
	User        map[string][]string `json:"user,omitempty"`
	ContentType string              `json:"content_type,omitempty"`
	UTF8        bool                `json:"utf8,omitempty"`
}

// client is one connected library.
type client interface {
	publish(command)
	disconnect()
}

var out struct {
	sync.Mutex
	w *bufio.Writer
}

func tell(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	out.w.Write(append(line, '\n'))
	out.w.Flush()
}

func main() {
	out.w = bufio.NewWriterSize(os.Stdout, 64<<10)
	clients := map[string]client{}
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 64<<10))
	for {
		var c command
		if err := in.Decode(&c); err != nil {
			return
		}
		switch c.Op {
		case "connect":
			switch c.Library {
			case "paho3":
				clients[c.Client] = connect3(c)
			case "paho5":
				clients[c.Client] = connect5(c)
			default:
				fmt.Fprintf(os.Stderr, "no library %q\n", c.Library)
				os.Exit(2)
			}
		case "publish":
			clients[c.Client].publish(c)
		case "disconnect":
			go clients[c.Client].disconnect()
		default:
			fmt.Fprintf(os.Stderr, "no operation %q\n", c.Op)
			os.Exit(2)
		}
	}
}
