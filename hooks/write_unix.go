//go:build unix

package hooks

import (
	"errors"
	"syscall"
)

const writesOnce = true

// writeOnce writes to a socket that does not block what it takes.
func writeOnce(fd uintptr, p []byte) (int, error) {
	for {
		switch n, err := syscall.Write(int(fd), p); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		default:
			return n, nil
		}
	}
}
