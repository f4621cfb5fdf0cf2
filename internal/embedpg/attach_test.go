//go:build linux || darwin

package embedpg

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAttachFindsTheServerOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	if _, err := Attach(dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(oneLine(t, err), dir) {
		t.Errorf("before the first start: %v", err)
	}
	h := startHelper(t, dir)
	h.started(t)
	url, err := Attach(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustQuery(t, url, `CREATE TABLE attached ()`)
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("helper: %v", err)
	}
	if _, err := Attach(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `TABLE attached`)
}

func TestAttachTellsStartingFromNotRunning(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	if _, err := Attach(dir); err != nil {
		t.Fatal(err)
	}
	// Without its database the server is in the middle of its first start.
	mustQuery(t, socketURL(s.socketDir, "postgres"), `ALTER DATABASE postbox RENAME TO other`)
	_, err := Attach(dir)
	if oneLine(t, err); !errors.Is(err, ErrStarting) {
		t.Error(err)
	}
}

func TestAttachRefusesASocketThatOthersCouldHaveMade(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	if err := os.Chmod(s.socketDir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Attach(dir)
	if got := oneLine(t, err); !strings.Contains(got, s.socketDir) {
		t.Error(got)
	}
}

func TestAttachAsAnotherUser(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	start(t, Options{Dir: dir})
	if os.Geteuid() != 0 {
		if _, err := Attach(dir); err != nil {
			t.Errorf("same user: %v", err)
		}
		return
	}
	// Root may; a third account may not, and is told so.
	copied := filepath.Join(filepath.Dir(dir), "embedpg.test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(copied, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]string{12345: ErrUnreachable.Error(), 0: "attached"} {
		cmd := exec.Command(copied)
		cmd.Env, cmd.Dir = append(os.Environ(), helperAttach+"="+dir), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("uid %d: %s, %v", uid, out, err)
		}
	}
}
