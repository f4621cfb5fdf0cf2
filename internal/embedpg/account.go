//go:build linux || darwin

package embedpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is who PostgreSQL runs as.
type account struct {
	uid, gid uint32
	name     string
	// drop says that this process is root and the child must not be.
	drop bool
}

// chooseAccount returns the account for dataDir, which need not exist yet. An
// ordinary user is its own account. For root it is whoever owns the directory,
// so that later starts agree with the first.
func chooseAccount(dataDir string) (account, error) {
	owner, ownerGID, exists, err := ownerOf(dataDir)
	if err != nil {
		return account{}, err
	}
	if uid := os.Geteuid(); uid != 0 {
		self := account{uid: uint32(uid), gid: uint32(os.Getegid()), name: accountName(uint32(uid))}
		if exists && owner != self.uid {
			return account{}, fmt.Errorf("%w: %s belongs to %s, this process runs as %s: run it as root or as the owner",
				ErrUnreachable, dataDir, accountName(owner), self.name)
		}
		return self, nil
	}
	if exists && owner != 0 {
		return account{uid: owner, gid: ownerGID, name: accountName(owner), drop: true}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		// 64 bits: macOS has negative ids.
		uid, err1 := strconv.ParseInt(u.Uid, 10, 64)
		gid, err2 := strconv.ParseInt(u.Gid, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return account{}, fmt.Errorf("account %s: %w", name, err)
		}
		return account{uid: uint32(uid), gid: uint32(gid), name: name, drop: true}, nil
	}
	return account{}, errors.New("PostgreSQL does not run as root and there is neither an account postgres nor nobody: create one or start as another user")
}

// credential returns what the child is to become, nil for "the same".
func (a account) credential() *syscall.Credential {
	if !a.drop {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own hands path, which this process has just created, to the account.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

func ownerOf(path string) (uid, gid uint32, exists bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid, true, nil
}

// accountName is for messages.
func accountName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
