package configs

import (
	"errors"
	"fmt"
	"net"
)

// topicAndProperties is what a publish needs beside its body and its ref.
const topicAndProperties = 2 * KiB

// Validate checks a Config that was not made by [Load]: every range, and what
// the settings ask of each other. It returns all faults, one a line, each with
// its key.
func (c Config) Validate() error {
	var faults []error
	for _, s := range c.settings() {
		if err := s.value.check(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.key, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	for _, clash := range c.clashes() {
		faults = append(faults, fmt.Errorf("%s: %s", clash.keys[0], clash.message))
	}
	return errors.Join(faults...)
}

// clash is a pair of settings that are allowed each, but not together. The key
// that the message is about comes first.
type clash struct {
	keys    [2]string
	message string
}

func (c Config) clashes() []clash {
	var found []clash
	report := func(key, other, format string, args ...any) {
		found = append(found, clash{[2]string{key, other}, fmt.Sprintf(format, args...)})
	}

	l := c.Limits
	if need := l.BodySize + l.RefSize + topicAndProperties; l.PacketSize < need {
		report("limits.packet_size", "limits.body_size",
			"%s is too small: limits.body_size %s with limits.ref_size %s, topic and properties need %s",
			l.PacketSize, l.BodySize, l.RefSize, need)
	}
	if l.ConnectSize > l.PacketSize {
		report("limits.connect_size", "limits.packet_size",
			"%s is more than limits.packet_size, %s", l.ConnectSize, l.PacketSize)
	}
	if c.Tokens.Refresh < c.Tokens.Access {
		report("tokens.refresh", "tokens.access", "%s is shorter than tokens.access, %s",
			formatDuration(c.Tokens.Refresh), formatDuration(c.Tokens.Access))
	}
	// Beside the writers, one connection listens for control news and one reads.
	if need := c.Database.Lanes + 2; c.Database.PoolSize < need {
		report("database.pool_size", "database.lanes", "%d is too small: database.lanes %d needs at least %d",
			c.Database.PoolSize, c.Database.Lanes, need)
	}

	c.transportClashes(report)
	c.issuerClashes(report)

	addresses := []struct{ key, address string }{
		{"listen.mqtt", c.Listen.MQTT}, {"listen.http", c.Listen.HTTP}, {"listen.private", c.Listen.Private},
		{"listen.mqtts", c.Listen.MQTTS}, {"listen.https", c.Listen.HTTPS},
	}
	for i, a := range addresses {
		for _, b := range addresses[:i] {
			if _, port, _ := net.SplitHostPort(a.address); a.address == b.address && port != "0" && a.address != "" {
				report(a.key, b.key, "%q is the address of %s too", a.address, b.key)
			}
		}
	}
	return found
}
