package broker

import (
	"fmt"
	"reflect"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"

	"postbox/hooks"
	"postbox/inbox"
)

// Leftovers says what a server still has of connections that have all ended;
// nothing is right. It is for tests of package broker_test.
func (s *Server) Leftovers() []string {
	return leftovers(s.engine.door, s.mochi, s.engine.hook, s.engine.hub)
}

// PacketsRead is how many packets Mochi has read since the server started.
func (s *Server) PacketsRead() int64 { return s.mochi.Info.Clone().PacketsReceived }

// leftovers looks into fields that are none of our business, Mochi's index of
// subscriptions among them: no method tells what is in it.
func leftovers(d *door, server *mqtt.Server, hook *hooks.Hook, hub *inbox.Hub) (left []string) {
	count := func(n int, what string) {
		if n > 0 {
			left = append(left, fmt.Sprintf("%d %s", n, what))
		}
	}
	d.mu.Lock()
	count(len(d.conns), "connections")
	count(len(d.waiting), "addresses before CONNECT")
	d.mu.Unlock()
	count(server.Clients.Len(), "clients in Mochi's map")
	index := reflect.ValueOf(server.Topics).Elem().FieldByName("root").Elem()
	held((*sync.Mutex)(index.FieldByName("Mutex").Addr().UnsafePointer()), func() {
		count(subscriptions(index), "subscriptions in Mochi's index")
	})
	count(int(server.Info.Clone().Inflight), "messages in Mochi's flight")
	count(hook.Connected(), "clients of users")
	registry, boxes := reflect.ValueOf(hook).Elem().FieldByName("registry"), reflect.ValueOf(hub).Elem()
	held((*sync.Mutex)(registry.FieldByName("mu").Addr().UnsafePointer()), func() {
		count(registry.FieldByName("devices").Len(), "places of devices")
		count(registry.FieldByName("watched").Len(), "presence filters")
	})
	held((*sync.RWMutex)(boxes.FieldByName("mu").Addr().UnsafePointer()), func() {
		count(boxes.FieldByName("boxes").Len(), "mailboxes")
	})
	return left
}

func held(l sync.Locker, f func()) {
	l.Lock()
	defer l.Unlock()
	f()
}

// subscriptions counts those at a node of Mochi's index and below it.
func subscriptions(particle reflect.Value) (n int) {
	for _, kind := range []string{"subscriptions", "shared", "inlineSubscriptions"} {
		if all := particle.FieldByName(kind); !all.IsNil() {
			n += all.Elem().FieldByName("internal").Len()
		}
	}
	for below := particle.FieldByName("particles").FieldByName("internal").MapRange(); below.Next(); {
		n += subscriptions(below.Value().Elem())
	}
	return n
}
