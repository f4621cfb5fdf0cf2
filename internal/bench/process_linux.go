package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of processor time in /proc: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// processStat is what /proc/PID/stat says about one process. Times of children
// are of those that have ended and were waited for.
type processStat struct {
	parent         int
	self, children time.Duration
}

// readProcess reads a process's times.
func readProcess(pid int) (processStat, error) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return processStat{}, fmt.Errorf("read times of process %d: %w", pid, err)
	}
	// The name in brackets may hold anything, so count from the last bracket;
	// proc_pid_stat(5) numbers the field after it 3.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) < 15 {
		return processStat{}, fmt.Errorf("read times of process %d: %d fields", pid, len(fields))
	}
	number := func(field int) int {
		n, _ := strconv.Atoi(fields[field-3])
		return n
	}
	return processStat{
		parent:   number(4),
		self:     time.Duration(number(14)+number(15)) * tick,
		children: time.Duration(number(16)+number(17)) * tick,
	}, nil
}

// familyTime is the processor time of a process and all its descendants, living
// and ended: what a postmaster and its backends have used.
func familyTime(pid int) (time.Duration, error) {
	root, err := readProcess(pid)
	if err != nil {
		return 0, err
	}
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	stats := map[int]processStat{}
	for _, path := range paths {
		id, _ := strconv.Atoi(filepath.Base(path))
		if stat, err := readProcess(id); err == nil {
			stats[id] = stat // else it has just ended
		}
	}
	sum := root.self + root.children
	for id, stat := range stats {
		// A chain of parents is short; the bound is against a pid used again
		// while we were reading.
		for ancestor, depth := stat.parent, 0; ancestor > 1 && depth < 64; depth++ {
			if ancestor == pid && id != pid {
				sum += stat.self + stat.children
				break
			}
			ancestor = stats[ancestor].parent
		}
	}
	return sum, nil
}

// residentSize is a process's resident set in bytes.
func residentSize(pid int) (int64, error) {
	return statusBytes(pid, "VmRSS")
}

// residentPeak is the highest resident set since the process began.
func residentPeak(pid int) (int64, error) {
	return statusBytes(pid, "VmHWM")
}

func statusBytes(pid int, key string) (int64, error) {
	value := fieldOf(filepath.Join("/proc", strconv.Itoa(pid), "status"), key)
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s of process %d: no such process?", key, pid)
	}
	return kilobytes << 10, nil
}

// ownTime is the processor time of this process.
func ownTime() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read own processor time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// machineTime is the processor time that all cores have spent on work, and what
// a hypervisor has withheld from them, since boot.
func machineTime() (busy, steal time.Duration, err error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read the machine's times: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("read the machine's times: /proc/stat does not begin with them")
	}
	for i, field := range fields[1:9] {
		ticks, _ := strconv.ParseInt(field, 10, 64)
		switch i {
		case 3, 4: // idle and waiting for disks
		case 7:
			steal = time.Duration(ticks) * tick
		default:
			busy += time.Duration(ticks) * tick
		}
	}
	return busy, steal, nil
}
