package proof

import (
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports for servers are below those that the kernel gives to outgoing connections
// (32768 on Linux): they must still be free when a server comes back on them. They
// come in blocks, and a block belongs to one process, for the tests of several
// packages run at the same time.
const (
	firstPort, lastPort = 20000, 32000
	blockPorts          = 100
)

// ports are those that this process has to give.
var ports struct {
	sync.Mutex
	next, end int
	// claims listen on the first port of each block, which is what tells other
	// processes that it is taken; the kernel ends that with the process, however
	// it ends.
	claims []net.Listener
}

// freeAddress is an address of 127.0.0.1 that no other test was given, in this
// process or another.
func freeAddress(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for {
		for ; ports.next < ports.end; ports.next++ {
			if l, err := listenOn(ports.next); err == nil {
				ports.next++
				l.Close()
				return l.Addr().String()
			}
		}
		claimPorts(t)
	}
}

// claimPorts takes the first block that nobody has.
func claimPorts(t testing.TB) {
	t.Helper()
	for first := firstPort; first < lastPort; first += blockPorts {
		if l, err := listenOn(first); err == nil {
			ports.claims = append(ports.claims, l)
			ports.next, ports.end = first+1, first+blockPorts
			return
		}
	}
	t.Fatalf("no free ports between %d and %d", firstPort, lastPort)
}

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
