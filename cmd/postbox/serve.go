package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/term"

	"postbox/broker"
	"postbox/configs"
)

// addressesFile tells other processes where a server on the embedded database
// listens.
const addressesFile = "addresses.json"

// shutdownTimeout bounds the end: flush, tell everybody, save. The embedded
// database gets what is left of endTimeout, and at least a second; then it is
// stopped at once, which costs its next start a recovery and nothing else.
const (
	shutdownTimeout = 9 * time.Second
	endTimeout      = 9500 * time.Millisecond
)

type serveCmd struct {
	Demo bool `help:"Make users alice, bob and carol, and print how to try them."`
}

// Help is the end of the command's --help.
func (serveCmd) Help() string {
	return `Without database.url it runs its own PostgreSQL in ./postbox-data.

Examples:

  postbox serve --demo
  postbox serve --config postbox.yaml
  POSTBOX_DATABASE_URL=postgres://app@db/app postbox serve`
}

// Run serves until SIGINT or SIGTERM; a second signal ends it at once.
func (c *serveCmd) Run(ctx context.Context, g *globals) error {
	tendMemory(ctx)
	config, err := loadConfig(g, c.flags())
	if err != nil {
		return err
	}
	log := newLogger(g.Stderr, config.Log)
	certificates, err := broker.NewCertificates(config, log)
	if err != nil {
		return err
	}
	if config.Listen.Secure() {
		defer onHangup(certificates.Reload)()
	}
	url, stopDatabase := config.Database.URL, func(time.Duration) {}
	if url == "" {
		if url, stopDatabase, err = startEmbedded(ctx, config, log); err != nil {
			return starting(ctx, err)
		}
	}
	var ended atomic.Int64 // when the signal came
	defer context.AfterFunc(ctx, func() {
		ended.Store(time.Now().UnixNano())
		notify(log, daemon.SdNotifyStopping)
	})()
	defer func() {
		left := endTimeout
		if at := ended.Load(); at > 0 {
			left -= time.Since(time.Unix(0, at))
		}
		stopDatabase(max(left, time.Second))
	}()
	first := func(at broker.Addresses) error {
		if err := announce(g, config, at); err != nil {
			return err
		}
		notify(log, daemon.SdNotifyReady)
		if !c.Demo {
			return nil
		}
		return demo(ctx, g, url, at)
	}
	for restarts := 0; ; restarts++ {
		options := broker.Options{
			Config: config, DatabaseURL: url, Logger: log, Version: versionOf(), Restarts: restarts, Certificates: certificates,
		}
		one := &serving{options: options, started: first, unhook: g.Unhook}
		err := one.once(ctx)
		if one.at == (broker.Addresses{}) {
			err = starting(ctx, err)
		}
		if !errors.Is(err, errReplaced) {
			return advise(err)
		}
		// The same addresses, though any free ones may have been asked for.
		listen := &config.Listen
		listen.MQTT, listen.HTTP, listen.Private, listen.MQTTS, listen.HTTPS = one.at.MQTT, one.at.HTTP, one.at.Private, one.at.MQTTS, one.at.HTTPS
		first = nil
	}
}

// starting is the error of a start, nil if a signal has ended it: nothing was
// promised to anybody yet.
func starting(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (c *serveCmd) flags() map[string]string {
	if c.Demo {
		return map[string]string{"registration": "open"}
	}
	return nil
}

func shut(s *broker.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// announce tells where the server listens: a line for people and programs that
// started it, a file for others.
func announce(g *globals, c configs.Config, at broker.Addresses) error {
	if c.Database.URL == "" {
		b, err := json.Marshal(at)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Database.EmbeddedDir, addressesFile), b, 0o644); err != nil {
			return fmt.Errorf("write down the addresses: %w", err)
		}
	}
	line := fmt.Sprintf("listening mqtt=%s http=%s private=%s", at.MQTT, at.HTTP, at.Private)
	if at.MQTTS != "" {
		line += " mqtts=" + at.MQTTS
	}
	if at.HTTPS != "" {
		line += " https=" + at.HTTPS
	}
	_, err := fmt.Fprintln(g.Stdout, line)
	return err
}

// onHangup calls f at each SIGHUP until the returned function is called.
func onHangup(f func()) (stop func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(ended)
		for range signals {
			f()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}

func newLogger(w io.Writer, c configs.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	text := c.Format == configs.LogText
	if f, ok := w.(*os.File); ok && c.Format == configs.LogAuto {
		text = term.IsTerminal(int(f.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
