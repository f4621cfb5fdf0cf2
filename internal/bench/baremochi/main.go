// Command baremochi is the Mochi broker with nothing added: default options, a
// hook that allows everything, logging off. It stores nothing. It is what
// Postbox is measured against, so it stays as small as a first example.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/signal"
	"syscall"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

var (
	addr    = flag.String("addr", "127.0.0.1:1883", "address to listen on; port 0 takes a free one")
	ws      = flag.String("ws", "", "the same for WebSockets, if any; no port 0")
	profile = flag.String("pprof", "", "address of Go's profiles, if any")
	writes  = flag.Int("writes", 0, "writes that may wait for a client; 0: Mochi's default")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "baremochi:", err)
		os.Exit(1)
	}
}

func run() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	capabilities := mochi.NewDefaultServerCapabilities()
	if *writes > 0 {
		capabilities.MaximumClientWritesPending = int32(*writes)
	}
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler), Capabilities: capabilities})
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: *addr})
	if *ws != "" {
		_ = server.AddListener(listeners.NewWebsocket(listeners.Config{ID: "ws", Address: *ws})) // fails for an id used twice
	}
	for _, err := range []error{server.AddHook(new(auth.AllowHook), nil), server.AddListener(tcp), server.Serve()} {
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
	}
	if *profile != "" {
		go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe(*profile, nil)) }()
	}
	fmt.Printf("listening mqtt=%s\n", tcp.Address())
	<-stop
	return server.Close()
}
