package store

import "sync"

// maxRemembered bounds what is remembered of one kind; beyond it the memory starts
// anew.
const maxRemembered = 100_000

// remembered is what was looked up once and does not change before somebody is
// erased: see ForgetNames. Its methods may be called from any goroutine.
type remembered[K comparable, V any] struct {
	mu      sync.Mutex // guards all below
	known   map[K]V
	forgets int // what was looked up before one is not learnt after it
}

func (r *remembered[K, V]) find(k K) (v V, known bool, forgets int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, known = r.known[k]
	return v, known, r.forgets
}

// fill gives each key of wanted its value, and returns those that are not known.
func (r *remembered[K, V]) fill(wanted map[K]V) (missing []K, forgets int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range wanted {
		v, known := r.known[k]
		if wanted[k] = v; !known {
			missing = append(missing, k)
		}
	}
	return missing, r.forgets
}

func (r *remembered[K, V]) learn(k K, v V, forgets int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if forgets != r.forgets {
		return
	}
	if r.known == nil || len(r.known) >= maxRemembered {
		r.known = make(map[K]V)
	}
	r.known[k] = v
}

func (r *remembered[K, V]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
	r.forgets++
}
