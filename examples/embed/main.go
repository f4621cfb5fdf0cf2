// Command embed is a Mochi server with topics of its own, telemetry/…, to which
// Postbox adds an inbox for every user, in the PostgreSQL of DATABASE_URL. It
// listens with Mochi's own listeners and with the one of Postbox.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"postbox/broker"
	"postbox/configs"
)

func main() {
	tcp := flag.String("tcp", "127.0.0.1:1883", "address of Mochi's TCP listener")
	ws := flag.String("ws", "127.0.0.1:1882", "address of Mochi's WebSocket listener")
	own := flag.String("postbox", "127.0.0.1:1884", "address of the listener of Postbox")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, stop, *tcp, *ws, *own); err != nil {
		slog.Error("serving failed", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, stop func(), tcp, ws, own string) error {
	server := mqtt.New(&mqtt.Options{
		Capabilities: broker.Capabilities(configs.Default()),
		Logger:       broker.MochiLogger(slog.Default()),
	})
	if err := server.AddHook(new(counter), nil); err != nil { // a hook of ours
		return err
	}
	postbox, err := broker.Attach(ctx, server, broker.Options{
		DatabaseURL: os.Getenv("DATABASE_URL"), Logger: slog.Default(),
		Authenticate: authenticate, MayUse: mayUse,
		Fenced: stop, Replaced: stop, // the supervisor starts us again
	})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = postbox.Shutdown(ctx)
		_ = server.Close()
	}()
	for _, l := range []listeners.Listener{
		listeners.NewTCP(listeners.Config{ID: "tcp", Address: tcp}),
		listeners.NewWebsocket(listeners.Config{ID: "ws", Address: ws}),
		postbox.Listener("postbox", own, nil),
	} {
		if err := server.AddListener(l); err != nil {
			return err
		}
	}
	if err := postbox.Start(ctx); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	slog.Info("serving", "tcp", tcp, "ws", ws, "postbox", own)
	<-ctx.Done()
	return nil
}
