package broker

import (
	"context"
	"strconv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/configs"
	"postbox/hooks"
	"postbox/store"
)

// look has the inboxes of a room's members looked at, or of everybody.
func (e *Engine) look(ctx context.Context, room string) {
	if room == "" {
		e.hub.Look()
		return
	}
	people, err := e.store.RoomPeople(ctx, postbox.Room(room))
	if err != nil {
		e.hub.Look()
		return
	}
	var users []postbox.UserID
	for _, p := range people {
		users = append(users, p.ID)
	}
	if len(users) > 0 {
		e.hub.Look(users...)
	}
}

// watch does what other processes ask for: the command line, other servers.
func (e *Engine) watch(ctx context.Context) {
	err := e.control.Run(ctx, func(event store.ControlEvent) {
		e.forget(event)
		switch event.Kind {
		case store.ControlEpoch:
			e.o.Logger.Warn("a new epoch was begun: starting again")
			e.o.Replaced()
		case store.ControlImported:
			e.look(ctx, event.Subject)
		case store.ControlDisabled, store.ControlPassword, store.ControlTokens, store.ControlAdmin, store.ControlErased:
			if event.Kind == store.ControlErased {
				e.store.ForgetNames()
				e.hub.Reread()
			}
			e.hook.DisconnectUser(event.User, packets.ErrAdministrativeAction, event.Subject)
			e.endOverHTTP(event.User, 0)
		case store.ControlLogin:
			if login, err := strconv.ParseInt(event.Subject, 10, 64); err == nil && login > 0 {
				e.hook.DisconnectLogin(event.User, postbox.LoginID(login), packets.ErrAdministrativeAction)
				e.endOverHTTP(event.User, postbox.LoginID(login))
			}
		case store.ControlRevoked:
			e.hook.DisconnectDevice(event.User, event.Subject, packets.ErrAdministrativeAction)
		case store.ControlRoom, store.ControlParted:
			e.revealRoom(ctx, event)
		case store.ControlBlocked, store.ControlUnblocked:
			e.reveal(ctx, event.User, postbox.User(event.Subject), event.Kind == store.ControlBlocked)
		}
	})
	if err != nil {
		e.o.Logger.Error("what other processes do is not noticed any more", "error", err)
	}
}

// endOverHTTP ends what a user, or one of the user's logins, has open over HTTP, where
// there is HTTP.
func (e *Engine) endOverHTTP(user postbox.UserID, login postbox.LoginID) {
	if e.changed != nil {
		e.changed(user, login)
	}
}

// forget drops what is remembered of who may write to whom, as far as the event
// may have changed it. Who is in a room the lanes find out by themselves.
func (e *Engine) forget(event store.ControlEvent) {
	if event.Kind == store.ControlRoom || event.Kind == store.ControlParted {
		e.signals.Forget(postbox.Room(event.Subject))
	}
	if event.Kind == store.ControlRoom {
		return
	}
	e.signals.Forget("")
	for _, l := range e.lanes {
		l.Forget()
	}
}

// keepHouse forgets sessions and logins whose life is over, and goes on with erasures
// that nobody works on.
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
			if err := e.store.ForgetLogins(ctx); err != nil && ctx.Err() == nil {
				e.o.Logger.Warn("forgetting expired logins failed", "error", err)
			}
			if err := e.goOnErasing(ctx); err != nil && ctx.Err() == nil {
				e.o.Logger.Warn("erasing what closed accounts have left failed", "error", err)
			}
		}
	}
}

func (e *Engine) goOnErasing(ctx context.Context) error {
	users, err := e.store.Erasures(ctx)
	for _, user := range users {
		if err == nil {
			err = e.store.Erase(ctx, user, nil)
		}
	}
	return err
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
