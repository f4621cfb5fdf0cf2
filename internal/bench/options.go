package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Protocol is an MQTT protocol version as it stands in a CONNECT packet.
type Protocol byte

// The protocol versions that the generator speaks.
const (
	MQTT311 Protocol = 4
	MQTT5   Protocol = 5
)

// String gives the version as people write it.
func (p Protocol) String() string {
	if p == MQTT5 {
		return "5"
	}
	return "3.1.1"
}

// Placeholders in the patterns of [Options].
const (
	placeholderNumber    = "{n}"
	placeholderRecipient = "{recipient}"
)

// Limits of a run. The number of senders is bounded by its four hex digits in
// the body, the window by the number of packet identifiers.
const (
	maxSenders = 1<<16 - 1
	maxWindow  = 1<<15 - 1
)

// Options say what load to make and where. [DefaultOptions] gives values that
// only lack nothing but a broker on the default port.
type Options struct {
	// Name labels the run in reports, for example the broker's name.
	Name string
	// Address is host:port of the broker's plain TCP listener.
	Address string
	// Protocol is MQTT311 or MQTT5, for senders and recipients alike.
	Protocol Protocol

	// Senders is the number of senders, and of recipients: 1 to 65,535.
	Senders int
	// Window is how many publishes a sender may have unacknowledged: 1 to
	// 32,767. An MQTT 5 broker's Receive Maximum lowers it; the report says so.
	Window int
	// Devices is the number of online devices per recipient, at least 1.
	Devices int
	// BodySize is the length of a body in bytes, at least MinBodySize.
	BodySize int
	// Rate is the number of messages per second of all senders together; 0
	// sends as fast as acknowledgements allow.
	Rate float64

	// WarmUp is sent like the rest and checked like the rest, but not measured.
	WarmUp time.Duration
	// Duration is the length of the measuring window.
	Duration time.Duration
	// Drain bounds the wait, after sending has ended, for acknowledgements and
	// deliveries that are still due.
	Drain time.Duration
	// ConnectTimeout bounds connecting and subscribing all clients. A server
	// that hashes passwords slowly needs it long.
	ConnectTimeout time.Duration

	// Topic is the topic to publish and to subscribe to; {recipient} stands for
	// the recipient's user name, {n} for its number, which begins at 1.
	Topic string
	// SenderUser and RecipientUser are patterns of user names with {n}.
	SenderUser, RecipientUser string
	// Password is everyone's; empty connects with the user name alone.
	Password string
	// Passwords, if set, gives each user's instead.
	Passwords func(user string) string
	// Session asks the broker for stored sessions (3.1.1: clean session 0; 5:
	// an hour) for all clients, and removes them after the run.
	Session bool
	// CreateUsers, if set, is called once before connecting with the names of
	// all senders and recipients. It must not fail on names that exist already.
	CreateUsers func(ctx context.Context, names []string, password string) error

	// Watch, if set, is told four times a second how long the measuring window has
	// been open and what was acknowledged in it; the window ends when Watch says so,
	// or after Duration. It must not wait.
	Watch func(open time.Duration, acknowledged int) (end bool)

	// ServerPID is the broker's process on this machine, for CPU and memory; 0
	// for none.
	ServerPID int
	// DatabasePID is the PostgreSQL postmaster's process, whose children are
	// counted with it; 0 for none.
	DatabasePID int
	// Database, if set, reports after the run whether storage was durable.
	Database DatabaseProbe

	// Commit names the tree that the broker was built from; empty takes the
	// one that this program was built from.
	Commit string
	// Notes name settings that a reader of the figures must know, such as rate
	// limits switched off.
	Notes []string
}

// DefaultOptions gives the load that the project's figures are stated for.
func DefaultOptions() Options {
	return Options{
		Address:        "127.0.0.1:1883",
		Protocol:       MQTT311,
		Senders:        50,
		Window:         32,
		Devices:        1,
		BodySize:       100,
		WarmUp:         2 * time.Second,
		Duration:       20 * time.Second,
		Drain:          30 * time.Second,
		ConnectTimeout: time.Minute,
		Topic:          "inbox/{recipient}",
		SenderUser:     "sender{n}",
		RecipientUser:  "recipient{n}",
	}
}

// Validate reports the first thing about o that no run could be made with.
func (o *Options) Validate() error {
	switch {
	case o.Address == "":
		return errors.New("no address: give the broker's host:port")
	case o.Protocol != MQTT311 && o.Protocol != MQTT5:
		return fmt.Errorf("protocol level %d: the generator speaks 3.1.1 (4) and 5 (5)", o.Protocol)
	case o.Senders < 1 || o.Senders > maxSenders:
		return fmt.Errorf("%d senders: give 1 to %d", o.Senders, maxSenders)
	case o.Window < 1 || o.Window > maxWindow:
		return fmt.Errorf("window of %d: give 1 to %d", o.Window, maxWindow)
	case o.Devices < 1:
		return fmt.Errorf("%d devices: a recipient needs at least one", o.Devices)
	case o.BodySize < MinBodySize || o.BodySize > maxBodySize:
		return fmt.Errorf("body of %d bytes: give %d (the marker) to %d", o.BodySize, MinBodySize, maxBodySize)
	case o.Rate < 0:
		return fmt.Errorf("rate of %g: give messages per second, or 0 for as fast as it goes", o.Rate)
	case o.Duration <= 0:
		return fmt.Errorf("duration of %v: give more than nothing", o.Duration)
	case o.WarmUp < 0 || o.Drain < 0 || o.ConnectTimeout <= 0:
		return errors.New("warm-up and drain may not be negative, and the connect timeout needs to be positive")
	case !strings.Contains(o.Topic, placeholderRecipient) && !strings.Contains(o.Topic, placeholderNumber):
		return fmt.Errorf("topic %q is the same for all: it needs %s or %s", o.Topic, placeholderRecipient, placeholderNumber)
	case strings.ContainsAny(o.Topic, "+#"):
		return fmt.Errorf("topic %q: a topic to publish to has no wildcards", o.Topic)
	case strings.Contains(o.Topic, placeholderRecipient) && !strings.Contains(o.RecipientUser, placeholderNumber):
		return fmt.Errorf("recipient users %q are all the same: the pattern needs %s", o.RecipientUser, placeholderNumber)
	case o.Password != "" && (o.SenderUser == "" || o.RecipientUser == ""):
		return errors.New("a password without user names: MQTT 3.1.1 forbids it, give patterns for both")
	case o.CreateUsers != nil && (o.Password == "" || o.SenderUser == "" || o.RecipientUser == ""):
		return errors.New("creating users needs a password and patterns for both kinds of user")
	}
	return nil
}

// identityOf is a client of a user.
func (o *Options) identityOf(clientID, user string) identity {
	if o.Passwords != nil {
		return identity{clientID, user, o.Passwords(user)}
	}
	return identity{clientID, user, o.Password}
}

// userNames lists the accounts that a run connects as, without repeats.
func (o *Options) userNames() []string {
	names := make([]string, 0, 2*o.Senders)
	seen := make(map[string]bool, 2*o.Senders)
	for i := range o.Senders {
		for _, pattern := range []string{o.SenderUser, o.RecipientUser} {
			if name := expandNumber(pattern, i); name != "" && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// topicOf is the topic of the recipient with the given index.
func (o *Options) topicOf(index int) string {
	topic := strings.ReplaceAll(o.Topic, placeholderRecipient, expandNumber(o.RecipientUser, index))
	return expandNumber(topic, index)
}

// expandNumber fills in the number of a client; people count from 1.
func expandNumber(pattern string, index int) string {
	return strings.ReplaceAll(pattern, placeholderNumber, strconv.Itoa(index+1))
}
