package proof

import (
	"os/exec"
	"syscall"
)

// endWithUs makes the kernel signal a child when this process dies without its
// clean-ups, as it does when a test times out.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
