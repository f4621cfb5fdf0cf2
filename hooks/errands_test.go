package hooks

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"postbox/inbox"
)

// What is published behind a request waits for it, and nothing else does.
func TestErrandsKeepTheOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &Hook{}
		var q errands
		var mu sync.Mutex
		var given []string
		give := func(d *inbox.Draft) {
			mu.Lock()
			defer mu.Unlock()
			given = append(given, d.Topic)
		}
		put := func(name string, do func()) bool { return q.put(h, &inbox.Draft{Topic: name}, do, give) }
		if put("before", nil) {
			t.Error("a draft without anything to wait for was taken")
		}
		ready := make(chan struct{})
		put("first request", func() { <-ready })
		if !put("between", nil) {
			t.Error("a draft behind a request was not taken")
		}
		put("second request", func() {})
		put("after", nil)
		synctest.Wait()
		if len(given) > 0 || q.waiting() != 3 {
			t.Errorf("given before the request was done: %v; %d wait", given, q.waiting())
		}
		close(ready)
		h.work.Wait()
		want := []string{"first request", "between", "second request", "after"}
		if !slices.Equal(given, want) {
			t.Errorf("given %v, want %v", given, want)
		}
		if put("later", nil) {
			t.Error("a draft waits though nothing is to be done")
		}
	})
}

// A client id is one level of the reply's topic, whatever is in it.
func TestPercentEncode(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"phone-1._~": "phone-1._~", "a/b": "a%2Fb", "+#": "%2B%23", "%": "%25", "ü 世": "%C3%BC%20%E4%B8%96",
	} {
		if got := percentEncode(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}
