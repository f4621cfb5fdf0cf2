package hooks

import (
	"sync"

	"postbox"
)

// checking counts the CONNECTs of each address that are being checked. Each waits
// for the database and holds memory, whether its client is still there or not; so
// of one address there are only so many, and the others are told at once to come
// again.
type checking struct {
	limit int

	mu    sync.Mutex // guards the field below
	hosts map[string]int
}

var errBusy = postbox.Errorf(postbox.CodeRateLimited, "too many connections of this address are being checked: try again later")

// begin counts one, or refuses it. end must follow.
func (k *checking) begin(host string) (end func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hosts == nil {
		k.hosts = make(map[string]int)
	}
	if k.hosts[host] >= k.limit {
		return nil, errBusy
	}
	k.hosts[host]++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.hosts[host]--; k.hosts[host] == 0 {
			delete(k.hosts, host)
		}
	}, nil
}
