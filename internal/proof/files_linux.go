package proof

import (
	"syscall"
	"testing"
	"unsafe"
)

// LimitFiles bounds the file descriptors of a process that runs, above those that
// it has.
func LimitFiles(t testing.TB, pid int, n uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: n, Max: n}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Fatalf("limit the files of process %d: %v", pid, errno)
	}
}
