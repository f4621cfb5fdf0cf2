package broker

import (
	"context"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/configs"
	"postbox/hooks"
	"postbox/store"
)

// watch does what other processes ask for: the command line, other servers.
func (e *Engine) watch(ctx context.Context) {
	err := e.control.Run(ctx, func(event store.ControlEvent) {
		for _, l := range e.lanes {
			l.Forget()
		}
		switch event.Kind {
		case store.ControlEpoch:
			e.o.Logger.Warn("a new epoch was begun: starting again")
			e.o.Replaced()
		case store.ControlDisabled, store.ControlPassword:
			e.hook.DisconnectUser(event.User, packets.ErrAdministrativeAction)
			if e.changed != nil {
				e.changed(event.User)
			}
		case store.ControlRevoked:
			e.hook.DisconnectDevice(event.User, event.Subject, packets.ErrAdministrativeAction)
		case store.ControlBlocked, store.ControlUnblocked:
			e.reveal(ctx, event.User, postbox.User(event.Subject), event.Kind == store.ControlBlocked)
		}
	})
	if err != nil {
		e.o.Logger.Error("what other processes do is not noticed any more", "error", err)
	}
}

// keepHouse forgets sessions whose life is over.
func (e *Engine) keepHouse(ctx context.Context) {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-minute.C:
			if err := e.store.ForgetExpired(ctx); err != nil && ctx.Err() == nil {
				e.o.Logger.Warn("forgetting expired sessions failed", "error", err)
			}
		}
	}
}

func limitsOf(c configs.Config) hooks.Limits {
	l := c.Limits
	return hooks.Limits{
		Body: int(l.BodySize), Packet: int(l.PacketSize), Ref: int(l.RefSize), KeepAlive: l.KeepAlive,
		Inflight: l.Inflight, Window: l.Window, SessionLife: l.SessionExpiry, Devices: l.DevicesPerUser,
		Subscriptions: l.SubscriptionsPerDevice, PublishRate: float64(l.PublishRate), PublishBurst: l.PublishBurst,
		PacketRate: float64(l.PacketRate), PacketBurst: l.PacketBurst, Connections: l.ConnectionsPerUser,
		Connects: l.ConnectionsPerAddress,
	}
}
