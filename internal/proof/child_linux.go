package proof

import (
	"os/exec"
	"syscall"
)

// endWithUs makes the kernel signal a child when this process dies without its
// clean-ups, as it does when a test times out. The child gets a process group of
// its own, so that a test can send it what a terminal sends to all of them.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
