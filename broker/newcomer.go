package broker

import (
	"net"
	"net/http"
	"sync"
)

// newcomers counts the HTTP connections that have not sent a request yet, their
// handshake included, with those that have not sent CONNECT. A proxy that is
// trusted keeps connections ready, and is not counted.
type newcomers struct {
	door  *door
	hosts sync.Map // net.Conn to host
}

// state is the ConnState of a server.
func (n *newcomers) state(c net.Conn, state http.ConnState) {
	if state != http.StateNew {
		if host, waited := n.hosts.LoadAndDelete(c); waited {
			n.door.leave(host.(string))
		}
		return
	}
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
