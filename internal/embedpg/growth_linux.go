package embedpg

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Growth is looked for so often, where there was none ten times less, and written so
// many bytes at a time with a pause after each: a commit in between waits for one of
// them at most.
const (
	growthEvery = 500 * time.Millisecond
	growthQuiet = 9 // looks to be left out
	growthPiece = 1 << 20
	growthPause = 5 * time.Millisecond
)

// writeGrowth has what files grow by written, until ctx ends.
func writeGrowth(ctx context.Context, dataDir string) {
	g := growth{dir: filepath.Join(dataDir, "base"), pause: growthQuiet}
	tick := time.NewTicker(growthEvery)
	defer tick.Stop()
	for {
		for _, s := range g.look() {
			s.write(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// write has the system begin to write the stretch. Whether it does is no matter of
// safety, so errors are none.
func (s stretch) write(ctx context.Context) {
	f, err := os.OpenFile(s.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return // it has gone
	}
	defer f.Close()
	for from := s.from; from < s.to; from += growthPiece {
		if err := unix.SyncFileRange(int(f.Fd()), from, min(growthPiece, s.to-from), unix.SYNC_FILE_RANGE_WRITE); err != nil {
			return
		}
		select {
		case <-time.After(growthPause):
		case <-ctx.Done():
			return
		}
	}
}
