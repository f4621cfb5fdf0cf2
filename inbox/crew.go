package inbox

import (
	"context"
	"sync"
)

// crew are goroutines that are waited for, and that may be asked for more while
// somebody waits.
type crew struct {
	work sync.WaitGroup

	mu        sync.Mutex // guards dismissed; may be taken under any other lock
	dismissed bool
}

// spawn runs f in a goroutine; not any more once the crew is dismissed.
func (c *crew) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dismissed {
		c.work.Go(f)
	}
}

// dismiss takes no more work, and waits for the end of what there is or that of
// ctx. It is safe to call twice.
func (c *crew) dismiss(ctx context.Context) error {
	c.mu.Lock()
	c.dismissed = true
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
