package main

import (
	"context"
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// authenticate is where our own accounts would be asked.
func authenticate(_ context.Context, name string, password []byte) (postbox.User, error) {
	if string(password) != name+"-secret" {
		return "", postbox.ErrUnauthenticated
	}
	return postbox.User(name), nil
}

// mayUse lets everybody read telemetry/…, and each user write to their own.
func mayUse(user postbox.User, topic string, write bool) bool {
	if write {
		return strings.HasPrefix(topic, "telemetry/"+string(user)+"/")
	}
	return strings.HasPrefix(topic, "telemetry/")
}

// counter is a hook of ours: it counts what passes through Mochi.
type counter struct {
	mqtt.HookBase
	published atomic.Int64
}

func (*counter) ID() string { return "counter" }

func (*counter) Provides(event byte) bool { return event == mqtt.OnPublished }

func (c *counter) OnPublished(*mqtt.Client, packets.Packet) { c.published.Add(1) }
