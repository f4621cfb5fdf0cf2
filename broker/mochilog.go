package broker

import (
	"context"
	"log/slog"
)

// mochiLog lets through of Mochi's log what is safe to keep: its lines contain
// whole packets, with payloads and passwords.
type mochiLog struct {
	slog.Handler
}

// safe are the attributes of Mochi's lines that hold no payload.
var safe = map[string]bool{"error": true, "client": true, "listener": true, "remote": true, "hook": true}

// Enabled passes warnings and errors only.
func (h mochiLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// Handle passes a record on with its safe attributes, at debug level: what a
// peer did wrong is no event of the server.
func (h mochiLog) Handle(ctx context.Context, r slog.Record) error {
	if !h.Handler.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	kept := slog.NewRecord(r.Time, slog.LevelDebug, "mochi: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if safe[a.Key] {
			kept.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, kept)
}

// WithAttrs drops them: they are Mochi's own.
func (h mochiLog) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup ignores groups.
func (h mochiLog) WithGroup(string) slog.Handler { return h }
