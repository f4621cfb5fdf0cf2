package bench

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// burn makes a process that uses processor time in a child of its own, then
// waits to be told to end.
func burn(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo done; read wait`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // its read fails
	})
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestFamilyTimeCountsChildrenThatHaveEnded(t *testing.T) {
	pid := burn(t)
	family, err := familyTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := readProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if family < 2*tick || alone.self >= family {
		t.Errorf("family %v, alone %v", family, alone.self)
	}
	// This process is the parent of that one, so its family has at least as much.
	if ours, err := familyTime(os.Getpid()); err != nil || ours < family {
		t.Errorf("family of this process %v, %v; of its child %v", ours, err, family)
	}
}

func TestMachineTimeGrows(t *testing.T) {
	t.Parallel()
	before, _, err := machineTime()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if after, _, _ := machineTime(); after > before {
			return
		}
	}
	t.Error("a busy loop of ten seconds is not seen")
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	m := ThisMachine()
	if m.Cores < 1 || m.Kernel == "" || m.Memory < 1<<28 {
		t.Errorf("got %+v", m)
	}
}
