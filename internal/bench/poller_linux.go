package bench

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// poller is an epoll set with a timer in it. Go's own poller wakes a goroutine
// per connection; this one hands over all that is ready in one system call.
type poller struct {
	epoll, timer int
	events       [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create timer: %w", err)
	}
	p := &poller{epoll: epoll, timer: timer}
	if err := p.add(timer); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add begins to watch a descriptor for reading.
func (p *poller) add(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// watch changes whether a descriptor is watched for writing too.
func (p *poller) watch(fd int, writing bool) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if writing {
		event.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &event); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// wakeIn makes wait return after d at the latest, once. epoll's own timeout has
// only milliseconds.
func (p *poller) wakeIn(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))}
	if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	return nil
}

// wait gives what is ready, or nothing after the timeout. The slice is valid
// until the next call.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	n, err := unix.EpollWait(p.epoll, p.events[:], int(timeout.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wait for connections: %w", err)
	}
	return p.events[:n], nil
}

// rang takes note that the timer has gone off.
func (p *poller) rang() {
	var count [8]byte
	_, _ = unix.Read(p.timer, count[:]) // empty if it was set anew meanwhile
}

func (p *poller) close() {
	_ = unix.Close(p.timer)
	_ = unix.Close(p.epoll)
}
