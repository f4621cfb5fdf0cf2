package embedpg

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// setDeathSignal does nothing: the system has no such thing. The next Start on
// the directory stops what is left over.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// isClusterProcess says whether pid is a PostgreSQL process, as well as ps can
// tell. The caller has pid from a file in dataDir.
func isClusterProcess(pid int, _ string) bool {
	out, err := exec.Command("/bin/ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	name := filepath.Base(strings.TrimSpace(string(out)))
	return name == "postgres" || name == "postmaster"
}

// clusterProcesses returns the postmaster's id, if it lives. Its children end by
// themselves when it is gone.
func clusterProcesses(dataDir string) []int {
	if pid := recordedPostmaster(dataDir); pid > 0 && isClusterProcess(pid, dataDir) {
		return []int{pid}
	}
	return nil
}
