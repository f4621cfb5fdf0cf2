//go:build !linux

package bench

import (
	"context"
	"errors"
)

// spent is not known here.
func (Processes) spent() (Spent, error) { return Spent{}, nil }

// Send makes runs on Linux only: the generator is built on epoll, and its
// account of processor time and memory on /proc.
func Send(context.Context, Options) (*Report, error) {
	return nil, errors.New("bench runs on Linux only")
}

// Room runs on Linux only, as Send does.
func Room(context.Context, RoomOptions) (*RoomRun, error) {
	return nil, errors.New("bench runs on Linux only")
}

// Connect runs on Linux only, as Send does.
func Connect(context.Context, ConnectOptions) (*ConnectRun, error) {
	return nil, errors.New("bench runs on Linux only")
}

// CatchUp runs on Linux only, as Send does.
func CatchUp(context.Context, CatchUpOptions) (*CatchUpRun, error) {
	return nil, errors.New("bench runs on Linux only")
}

// Mixed runs on Linux only, as Send does.
func Mixed(context.Context, MixedOptions, *MixedReport) error {
	return errors.New("bench runs on Linux only")
}
