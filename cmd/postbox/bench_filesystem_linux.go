package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystemNames are those that a database may lie on; statfs(2).
var fileSystemNames = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4", // ext2 and ext3 have the same number
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "ramfs",
	0x2fc12fc1:                 "zfs",
}

// fileSystem names the type of the file system that path lies on: "unknown" if
// the path is not on this machine or not open to us.
func fileSystem(path string) string {
	var stat unix.Statfs_t
	if path == "" || unix.Statfs(path, &stat) != nil {
		return "unknown"
	}
	if name, ok := fileSystemNames[int64(stat.Type)]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", stat.Type)
}
