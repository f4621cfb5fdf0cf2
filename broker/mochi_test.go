package broker

import (
	"errors"
	"log/slog"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"

	"postbox/configs"
)

// What Mochi is told besides its capabilities; see docs/mochi.md.
func TestMochiSettings(t *testing.T) {
	t.Parallel()
	m := newMochi(configs.Default(), slog.New(slog.DiscardHandler))
	if m.Options.InlineClient {
		t.Error("there is an inline client")
	}
	if err := m.Publish("inbox/alice", nil, false, 0); !errors.Is(err, mqtt.ErrInlineClientNotEnabled) {
		t.Errorf("publish past all checks: %v", err)
	}
	if every := m.Options.SysTopicResendInterval; every < 3600 {
		t.Errorf("$SYS every %d s", every)
	}
}
