package importer

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Layouts of times. Fractions of a second are read with each that has seconds.
var (
	offsetLayouts = []string{
		"2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 Z07:00",
	}
	naiveLayouts = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}
)

// What is wrong with a time.
var (
	errNoTime   = errors.New("there is no time")
	errTime     = errors.New("the time cannot be read")
	errEarly    = errors.New("the time is before 1970")
	errTomorrow = errors.New("the time is in the future")
)

// parseTime reads a time: with an offset, or in zone, or seconds, milliseconds or
// microseconds since 1970. It is cut to whole milliseconds. A message from the
// future would hold up the times of all after it: more than a day past now is an
// error.
func parseTime(s string, zone *time.Location, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasPrefix(s, "0000-00-00") {
		return time.Time{}, errNoTime
	}
	at, err := readTime(s, zone)
	switch {
	case err != nil:
		return at, err
	case at.Before(time.UnixMilli(0)):
		return at, errEarly
	case at.After(now.Add(24 * time.Hour)):
		return at, errTomorrow
	}
	return at.UTC().Truncate(time.Millisecond), nil
}

func readTime(s string, zone *time.Location) (time.Time, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case n < 0:
			return time.Time{}, errEarly
		case n < 1e11:
			return time.UnixMilli(int64(n * 1000)), nil
		case n < 1e14:
			return time.UnixMilli(int64(n)), nil
		case n < 1e17:
			return time.UnixMicro(int64(n)), nil
		}
		return time.Time{}, errTime
	}
	for _, layout := range offsetLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	for _, layout := range naiveLayouts {
		if at, err := time.ParseInLocation(layout, s, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errTime
}

// truth reads a flag, or the time at which something became true.
func truth(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	switch s {
	case "", "\x00", "f", "false", "n", "no", "off", "unread":
		return false
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return n != 0
	}
	return !strings.HasPrefix(s, "0000-00-00")
}
