package configs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Sources are the places that settings come from, the weakest first.
type Sources struct {
	// File is the path of a YAML file; empty means none.
	File string
	// Env holds "NAME=value" lines as [os.Environ] returns them. POSTBOX_LISTEN_MQTT
	// sets listen.mqtt, and so on; lists are separated by commas.
	Env []string
	// Flags holds values by key: {"listen.mqtt": "127.0.0.1:0"}.
	Flags map[string]string
}

// Load returns the defaults, overridden by the file, then by the environment,
// then by the flags. The result is validated.
//
// It reports every fault at once, one a line, each with its place: file and
// line, variable or flag. An unknown name comes with the nearest known one. A
// value that a later source overrides must be right all the same.
func Load(from Sources) (Config, error) {
	c := Default()
	l := loader{settings: map[string]setting{}, origin: map[string]string{}}
	for _, s := range c.settings() {
		l.settings[s.key] = s
		l.keys = append(l.keys, s.key)
	}
	if from.File != "" {
		l.file(from.File)
	}
	l.environment(from.Env)
	l.flags(from.Flags)
	if len(l.faults) == 0 {
		for _, clash := range c.clashes() {
			l.clash(clash)
		}
	}
	if len(l.faults) > 0 {
		return Config{}, errors.Join(l.faults...)
	}
	return c, nil
}

// loader collects what the sources say, and what is wrong with it.
type loader struct {
	settings map[string]setting
	keys     []string          // of settings, in the order of the reference file
	origin   map[string]string // place that set a key last
	faults   []error
}

func (l *loader) fault(place, format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf("%s: %w", place, fmt.Errorf(format, args...)))
}

// clash blames the first of the two keys that somebody has set.
func (l *loader) clash(c clash) {
	for _, key := range c.keys {
		if place := l.origin[key]; place != "" {
			l.fault(place, "%s: %s", c.keys[0], c.message)
			return
		}
	}
	l.fault(c.keys[0], "%s", c.message)
}

func (l *loader) flags(flags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		place := "flag " + key
		if _, known := l.settings[key]; !known {
			l.fault(place, "unknown key %q (did you mean %q?)", key, nearest(key, l.keys))
			continue
		}
		l.set(place, key, flags[key])
	}
}

// set takes a value from the environment or a flag, which unlike a file may hold
// any bytes.
func (l *loader) set(place, key, text string) {
	l.origin[key] = place
	if !utf8.ValidString(text) {
		l.fault(place, "the value is not UTF-8: write it as text in UTF-8")
		return
	}
	if err := l.settings[key].value.set(text); err != nil {
		l.fault(place, "%w", err)
	}
}
