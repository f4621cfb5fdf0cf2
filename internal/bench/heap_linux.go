package bench

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// footprintOf looks at a process and, if url is that of its Go heap profile, into
// its heap after two collections: the first runs finalizers, the second frees what
// they held.
func footprintOf(ctx context.Context, pid int, url string) (f footprint, err error) {
	if url != "" {
		for range 2 {
			if f.heap, f.stack, err = heapOf(ctx, url+"?gc=1&debug=1"); err != nil {
				return f, err
			}
		}
	}
	if pid != 0 {
		f.resident, err = residentSize(pid)
	}
	return f, err
}

// heapOf reads the figures that a heap profile of net/http/pprof ends with.
func heapOf(ctx context.Context, url string) (heap, stack int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("read the server's heap: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, fmt.Errorf("read the server's heap: %w", err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " = ")
		value, _, _ = strings.Cut(value, " ")
		switch name {
		case "# HeapAlloc":
			heap, err = strconv.ParseInt(value, 10, 64)
		case "# Stack":
			stack, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read the server's heap: %w", err)
		}
	}
	if heap == 0 && lines.Err() == nil {
		return 0, 0, fmt.Errorf("%s gives no heap profile (status %s)", url, answer.Status)
	}
	return heap, stack, lines.Err()
}

// spareFiles is what a process opens beside the connections.
const spareFiles = 100

// checkFiles says which process may not have enough files open.
func checkFiles(connections, serverPID int) error {
	need := uint64(connections + spareFiles)
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if own.Cur < need {
		return fmt.Errorf("%d connections need %d open files here, %d are allowed: raise it with \"ulimit -n %d\" (above the hard limit %d only root can), or ask for fewer",
			connections, need, own.Cur, need, own.Max)
	}
	if serverPID == 0 {
		return nil
	}
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(serverPID), "limits"))
	if err != nil {
		return fmt.Errorf("read the server's limit of open files: %w", err)
	}
	for line := range strings.Lines(string(limits)) {
		fields := strings.Fields(strings.TrimPrefix(line, "Max open files"))
		if !strings.HasPrefix(line, "Max open files") || len(fields) == 0 {
			continue
		}
		if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil && n < need {
			return fmt.Errorf("%d connections need %d open files of the server (process %d), %d are allowed: start it behind \"ulimit -n %d\" (LimitNOFILE for systemd), or ask for fewer",
				connections, need, serverPID, n, need)
		}
	}
	return nil
}
