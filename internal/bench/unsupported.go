//go:build !linux

package bench

import (
	"context"
	"errors"
)

// Send makes runs on Linux only: the generator is built on epoll, and its
// account of processor time and memory on /proc.
func Send(context.Context, Options) (*Report, error) {
	return nil, errors.New("bench runs on Linux only")
}
