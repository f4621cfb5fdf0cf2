package broker

import (
	"net"
	"net/http"
	"sync"
)

// newcomers counts the HTTP connections that have not sent a request yet, their
// handshake included, with those that have not sent CONNECT. A proxy that is
// trusted keeps connections ready, and is not counted. Each has a place in the
// room, which a WebSocket keeps until it ends.
type newcomers struct {
	door  *door
	hosts sync.Map // net.Conn to host
	all   sync.Map // net.Conn of those that have a place
}

// state is the ConnState of a server.
func (n *newcomers) state(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		n.begin(c)
		return
	case http.StateHijacked:
		n.all.Delete(c)
	case http.StateClosed:
		if _, inside := n.all.LoadAndDelete(c); inside {
			n.door.room.leave()
		}
	}
	if host, waited := n.hosts.LoadAndDelete(c); waited {
		n.door.leave(host.(string))
	}
}

func (n *newcomers) begin(c net.Conn) {
	if !n.door.room.enter() {
		n.door.turnedAway.Add(1)
		_ = c.Close()
		return
	}
	n.all.Store(c, nil)
	if n.door.proxies.Trusts(c.RemoteAddr()) {
		return
	}
	host := hostOf(c)
	if !n.door.enter(host) {
		_ = c.Close()
		return
	}
	n.hosts.Store(c, host)
}
