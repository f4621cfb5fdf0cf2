//go:build linux || darwin

package embedpg

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a child and the goroutine that waits for it.
type process struct {
	pid    int
	handle *os.Process
	done   chan struct{} // closed when the child is gone
	err    error         // what Wait returned; to be read after done
}

// command prepares a program of the cluster: as the account, in the cluster's
// directory, with an environment of its own.
func (c *cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(c.bins.program(program), args...)
	cmd.Env, cmd.Dir = childEnv(), c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.acct.credential()}
	return cmd
}

// startProcess starts cmd in a process group of its own. Where the kernel can,
// it sends death to the child when this process dies.
//
// The kernel takes the death of the forking thread for the death of the parent.
// So a goroutine bound to its thread forks, and keeps the thread until the
// child is gone.
func startProcess(cmd *exec.Cmd, death syscall.Signal) (*process, error) {
	cmd.SysProcAttr.Setpgid = true
	setDeathSignal(cmd.SysProcAttr, death)
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.handle, p.pid = cmd.Process, cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// signal sends sig unless the child is already gone.
func (p *process) signal(sig syscall.Signal) { _ = p.handle.Signal(sig) }

func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
