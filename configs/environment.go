package configs

import (
	"regexp"
	"strings"
)

const envPrefix = "POSTBOX_"

// notSettings are the names below POSTBOX_ that are not settings: the path of
// the file itself, what the command line's own clients are told, what is imported,
// the knobs of the tests, and what Kubernetes and Docker put into every container
// beside a service that is called "postbox".
var notSettings = regexp.MustCompile(`^POSTBOX_(CONFIG|URL|USER|PASSWORD|TOKEN|PROFILE|IMPORT_FROM|TEST_.*` +
	`|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// environment applies "NAME=value" lines; the later of two wins.
func (l *loader) environment(lines []string) {
	keyOf := map[string]string{}
	names := []string{"POSTBOX_CONFIG"}
	for _, key := range l.keys {
		name := l.settings[key].environment()
		keyOf[name] = key
		names = append(names, name)
	}
	for _, line := range lines {
		name, text, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) || notSettings.MatchString(name) {
			continue
		}
		key, known := keyOf[name]
		if !known {
			l.fault("environment", "unknown variable %q (did you mean %q?)", name, nearest(name, names))
			continue
		}
		l.set(name, key, text)
	}
}
