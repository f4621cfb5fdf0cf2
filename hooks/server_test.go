package hooks_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"postbox/hooks"
)

var someLimits = hooks.Limits{
	Body: 64 << 10, Packet: 256 << 10, Ref: 4 << 10, KeepAlive: time.Hour, Inflight: 256, Window: 64,
	SessionLife: 30 * 24 * time.Hour, Devices: 50, Subscriptions: 100,
}

// unserved is a server with options that Postbox takes, and the hook for it.
func unserved(t *testing.T, change func(*mqtt.Capabilities)) (*mqtt.Server, *hooks.Hook) {
	t.Helper()
	c := hooks.Capabilities(someLimits)
	if change != nil {
		change(c)
	}
	s := mqtt.New(&mqtt.Options{Capabilities: c, Logger: slog.New(slog.DiscardHandler)})
	return s, hooks.New(s, hooks.Options{Limits: someLimits, Logger: slog.New(slog.DiscardHandler)})
}

// checkRefusal wants one line that names what is wrong and what to do.
func checkRefusal(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("not refused")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %q", err)
	}
}

// Options under which promises would not hold are refused, each by its name and
// with the value to set.
func TestCapabilitiesRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*mqtt.Capabilities)
		set    string
	}{
		"MaximumPacketSize":            {func(c *mqtt.Capabilities) { c.MaximumPacketSize = 0 }, "set it to 262144"},
		"ReceiveMaximum":               {func(c *mqtt.Capabilities) { c.ReceiveMaximum = 1024 }, "set it to 256"},
		"MaximumSessionExpiryInterval": {func(c *mqtt.Capabilities) { c.MaximumSessionExpiryInterval = 1<<32 - 1 }, "set it to 2592000"},
		"MaximumMessageExpiryInterval": {func(c *mqtt.Capabilities) { c.MaximumMessageExpiryInterval = 86400 }, "set it to 0"},
		"MaximumQos":                   {func(c *mqtt.Capabilities) { c.MaximumQos = 1 }, "set it to 2"},
		"TopicAliasMaximum":            {func(c *mqtt.Capabilities) { c.TopicAliasMaximum = 1 }, "set it to 0"},
		"RetainAvailable":              {func(c *mqtt.Capabilities) { c.RetainAvailable = 0 }, "set it to 1"},
		"MaximumClientWritesPending":   {func(c *mqtt.Capabilities) { c.MaximumClientWritesPending = 8192 }, "set it to 64"},
		"MaximumClientWritesPending ":  {func(c *mqtt.Capabilities) { c.MaximumClientWritesPending = 0 }, "set it to 64"},
		"NoInheritedPropertiesOnAck":   {func(c *mqtt.Capabilities) { c.Compatibilities.NoInheritedPropertiesOnAck = false }, "set it to true"},
		"PassiveClientDisconnect":      {func(c *mqtt.Capabilities) { c.Compatibilities.PassiveClientDisconnect = true }, "set it to false"},
		"ObscureNotAuthorized":         {func(c *mqtt.Capabilities) { c.Compatibilities.ObscureNotAuthorized = true }, "set it to false"},
		"MaximumPacketSize ":           {func(c *mqtt.Capabilities) { c.MaximumPacketSize = 1024 }, "set it to 262144"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, h := unserved(t, test.change)
			checkRefusal(t, s.AddHook(h, nil), strings.TrimSpace(name), test.set)
		})
	}
	// Mochi's own defaults are among those refused; what others may change is not.
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	checkRefusal(t, s.AddHook(hooks.New(s, hooks.Options{Limits: someLimits}), nil), "MaximumPacketSize")
	s, h := unserved(t, func(c *mqtt.Capabilities) { c.MaximumClientWritesPending, c.MaximumClients = 1024, 10 })
	if err := s.AddHook(h, nil); err != nil {
		t.Error(err)
	}
}

// provider is somebody's hook that takes some events.
type provider struct {
	*mqtt.HookBase
	id     string
	events []byte
	_      []int // so that values of the type cannot be compared
}

func (p provider) ID() string { return p.id }

func (p provider) Provides(event byte) bool {
	return strings.ContainsRune(string(p.events), rune(event))
}

// The hook is the only one that is asked, whenever another is added.
func TestOtherHooks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		event byte
		says  string
	}{
		"connect":       {mqtt.OnConnectAuthenticate, "OnConnectAuthenticate"},
		"access":        {mqtt.OnACLCheck, "OnACLCheck"},
		"clients":       {mqtt.StoredClients, "stored sessions"},
		"subscriptions": {mqtt.StoredSubscriptions, "stored sessions"},
		"inflight":      {mqtt.StoredInflightMessages, "stored sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := provider{HookBase: new(mqtt.HookBase), id: "their-hook", events: []byte{mqtt.OnPublished, test.event}}
			s, h := unserved(t, nil)
			if err := s.AddHook(other, nil); err != nil {
				t.Fatal(err)
			}
			checkRefusal(t, s.AddHook(h, nil), `"their-hook"`, test.says, "remove it")

			s, h = unserved(t, nil)
			s.Options.Hooks = []mqtt.HookLoadConfig{{Hook: other}} // to be added by Serve
			checkRefusal(t, s.AddHook(h, nil), `"their-hook"`, test.says)

			s, h = unserved(t, nil)
			if err := s.AddHook(h, nil); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckHooks(); err != nil {
				t.Error(err)
			}
			if err := s.AddHook(other, nil); err != nil {
				t.Fatal(err)
			}
			checkRefusal(t, h.CheckHooks(), `"their-hook"`, test.says)
		})
	}
	s, h := unserved(t, nil)
	if err := s.AddHook(provider{HookBase: new(mqtt.HookBase), id: "harmless", events: []byte{mqtt.OnPublished, mqtt.OnConnect, mqtt.StoredRetainedMessages}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddHook(h, nil); err != nil {
		t.Error(err)
	}
}

// It is added once, to a server that does not serve yet.
func TestAddedOnceAndInTime(t *testing.T) {
	t.Parallel()
	s, h := unserved(t, nil)
	if err := s.AddHook(h, nil); err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, s.AddHook(h, nil), "added already")
	second := hooks.New(s, hooks.Options{Limits: someLimits})
	checkRefusal(t, s.AddHook(second, nil), "has Postbox already")

	s, h = unserved(t, nil)
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkRefusal(t, s.AddHook(h, nil), "before Serve")
}
