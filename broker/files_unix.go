//go:build unix

package broker

import "syscall"

// openFiles is how many files this process may have open; zero: it is not known.
// Go raises the soft limit to the hard one when a program starts.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur)
}
