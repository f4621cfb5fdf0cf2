package main

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"postbox/broker"
)

// A second signal ends the process at once also when the first comes while a
// server takes another's place.
func TestSecondSignalWhileStartingAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	unhooked := make(chan struct{})
	one := &serving{
		// A URL that nothing can be done with: the start is tried for ever.
		options: broker.Options{DatabaseURL: "postgres://%", Logger: slog.New(slog.DiscardHandler)},
		unhook:  sync.OnceFunc(func() { close(unhooked) }),
	}
	done := make(chan error)
	go func() { done <- one.once(ctx) }()
	cancel()
	select {
	case <-unhooked:
	case <-time.After(20 * time.Second):
		t.Error("a second signal has no effect")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
