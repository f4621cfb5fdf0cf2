package embedpg

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// setDeathSignal asks the kernel for sig at the parent's death. A change of
// credentials clears such a request; the syscall package makes it after the
// change, and the exec of a program without set-user-id bits keeps it.
func setDeathSignal(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// isClusterProcess says whether pid is a PostgreSQL process of dataDir. All of
// them, postmaster and children, have it as their working directory, and a
// process id in a file may by now belong to anything.
func isClusterProcess(pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
	if err != nil || cwd != dataDir {
		return false
	}
	exe, err := os.Readlink(filepath.Join(proc, "exe"))
	if err != nil {
		return false
	}
	// The link of a program replaced by an upgrade says so behind its name.
	name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	return name == "postgres" || name == "postmaster"
}

// clusterProcesses returns the ids of all PostgreSQL processes of dataDir.
func clusterProcesses(dataDir string) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isClusterProcess(pid, dataDir) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
