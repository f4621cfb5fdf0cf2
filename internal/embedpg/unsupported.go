//go:build !linux && !darwin

package embedpg

import "context"

// Server is a running PostgreSQL. There is none on this operating system.
type Server struct{}

// Start returns [ErrUnsupported].
func Start(context.Context, Options) (*Server, error) { return nil, ErrUnsupported }

// Attach returns [ErrUnsupported].
func Attach(string) (string, error) { return "", ErrUnsupported }

// URL returns nothing.
func (*Server) URL() string { return "" }

// Pid returns 0.
func (*Server) Pid() int { return 0 }

// Stop does nothing.
func (*Server) Stop(context.Context) error { return nil }
