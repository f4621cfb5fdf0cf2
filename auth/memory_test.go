package auth

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// What passwords take is not kept ready for the next ones: after each, the heap may
// grow as far as it might have without it.
func TestMemoryOfHashes(t *testing.T) { // not parallel: it looks at the heap
	const memory = 19 << 10 // KiB
	h := argonHash{memory: memory, passes: 1, lanes: 1, salt: make([]byte, saltLength)}
	runtime.GC()
	before := heapGoal()
	for range 3 {
		h.compute("secret", tagLength)
		if goal := heapGoal(); goal > before+memory<<10/2 {
			t.Errorf("the heap may grow to %d KiB after a hash, %d KiB before", goal>>10, before>>10)
		}
	}
}

// heapGoal is the size of the heap, in bytes, at which the next collection ends.
func heapGoal() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
