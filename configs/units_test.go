package configs

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "1B": 1, "64KiB": 65_536, "64 KiB": 65_536, "3MiB": 3 * MiB, "2GiB": 2 * GiB,
		"8589934591GiB": 8589934591 * GiB,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "+1KiB", "1.5MiB", "64KB", "64K", "1kib", "1 B B", "8589934592GiB", "99999999999999999999"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "100ms": 100 * time.Millisecond, "90m": 90 * time.Minute, "30d": 720 * time.Hour,
		"1d12h": 36 * time.Hour, "0d1s": time.Second, "-5m": -5 * time.Minute,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "d", "1.5d", "-1d", "1d-1h", "1d+1h", "1dd", "1w", "106752d", "106751d24h", "9999999999d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", text, got)
		}
	}
}

func TestTextIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Min(0).Draw(t, "size"))
		if got, err := ParseSize(size.String()); err != nil || got != size {
			t.Fatalf("%d is written %s and read %d, %v", size, size, got, err)
		}
		duration := time.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "whole") {
			duration = duration.Truncate(time.Minute)
		}
		written := formatDuration(duration)
		if got, err := ParseDuration(written); err != nil || got != duration {
			t.Fatalf("%d is written %s and read %d, %v", duration, written, got, err)
		}
	})
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"listen", "listen.mqtt", "limits.window", "log", "log.level"}
	for wrong, want := range map[string]string{
		"listem": "listen", "window": "limits.window", "limit.window": "limits.window", "logs": "log",
		"listen.mqqt": "listen.mqtt", "LOG.LEVELS": "log.level", "": "log",
	} {
		if got := nearest(wrong, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", wrong, got, want)
		}
	}
}
