package embedpg

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/ulikunitz/xz"
)

const (
	largestUnpacked = 1 << 30
	mostFiles       = 20_000
)

// unpackPrograms makes dir of a tar.xz archive. Nothing lands outside of dir,
// whatever the archive says, and whoever PostgreSQL runs as may read it.
func unpackPrograms(compressed io.Reader, dir string) error {
	plain, err := xz.NewReader(compressed)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Chmod(".", 0o755); err != nil { // whatever the umask is
		return err
	}
	limited := &io.LimitedReader{R: plain, N: largestUnpacked}
	in := tar.NewReader(limited)
	for range mostFiles {
		entry, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if limited.N == 0 {
			return fmt.Errorf("more than %d MiB", largestUnpacked>>20)
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, entry, in); err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d files", mostFiles)
}

func unpackEntry(root *os.Root, entry *tar.Header, content io.Reader) error {
	name := path.Clean(entry.Name)
	if name == "." {
		return nil
	}
	if err := unpackDir(root, path.Dir(name)); err != nil {
		return err
	}
	switch entry.Typeflag {
	case tar.TypeDir:
		return unpackDir(root, name)
	case tar.TypeReg:
		mode := fs.FileMode(0o644)
		if entry.Mode&0o111 != 0 {
			mode = 0o755
		}
		out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, content)
		return errors.Join(err, out.Chmod(mode), out.Close())
	case tar.TypeSymlink:
		// Followed later by programs, not by the Root: it must stay inside.
		if target := path.Join(path.Dir(name), entry.Linkname); path.IsAbs(entry.Linkname) || target == ".." || strings.HasPrefix(target, "../") {
			return fmt.Errorf("%s leads out of the archive", name)
		}
		return root.Symlink(entry.Linkname, name)
	}
	return fmt.Errorf("%s is neither a file nor a directory nor a link", name)
}

// unpackDir makes a directory and its parents, which everybody may enter.
func unpackDir(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if err := unpackDir(root, path.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}
