//go:build linux || darwin

package embedpg

import (
	"os"
	"path/filepath"
)

// growth finds what the files of tables and indexes have grown by.
//
// PostgreSQL makes a file longer by writing empty pages, and leaves it to the system
// when those go to the disk. Linux collects them for half a minute and then writes
// them all, which may be hundreds of megabytes: until that is done no commit gets
// through, for a tenth of a second on a fast disk, for seconds on a slow one. So they
// are written early, a few at a time. (PostgreSQL does that itself for the pages
// that it fills, see its settings *_flush_after, not for these.)
type growth struct {
	dir string // base, in the data directory
	// pause is how many looks leave a directory out of which nothing has grown: each
	// database is one, of some 300 files.
	pause     int
	databases map[string]*databaseFiles // nil before the first look
}

type databaseFiles struct {
	sizes map[string]int64 // of the last look
	pause int              // looks to be left out
}

// stretch is what a file has grown by.
type stretch struct {
	path     string
	from, to int64
}

// look returns what has grown since the last look; at the first nothing has. What
// cannot be read has not grown: files come and go.
func (g *growth) look() (grown []stretch) {
	first := g.databases == nil
	databases := make(map[string]*databaseFiles, len(g.databases))
	entries, _ := os.ReadDir(g.dir)
	for _, e := range entries {
		if e.Name() == "pgsql_tmp" {
			continue // such files are gone before anybody writes them
		}
		dir := filepath.Join(g.dir, e.Name())
		before := g.databases[dir]
		if before == nil {
			before = &databaseFiles{}
		}
		if before.pause > 0 {
			before.pause--
			databases[dir] = before
			continue
		}
		now := &databaseFiles{sizes: make(map[string]int64, len(before.sizes)), pause: g.pause}
		databases[dir] = now
		files, _ := os.ReadDir(dir)
		for _, file := range files {
			info, err := file.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			path, size := filepath.Join(dir, file.Name()), info.Size()
			if from := before.sizes[path]; size > from && !first {
				grown = append(grown, stretch{path, from, size})
				now.pause = 0
			}
			now.sizes[path] = size
		}
	}
	g.databases = databases
	return grown
}
