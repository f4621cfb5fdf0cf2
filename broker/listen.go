package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"postbox/configs"
	"postbox/web"
)

// listen opens every listener, then serves: if one cannot be had, none is left.
func (s *Server) listen() error {
	c := s.o.Config.Listen
	all := []struct {
		key, address string
		at           *string
		serve        func(net.Listener)
	}{
		{"listen.mqtt", c.MQTT, &s.addresses.MQTT, func(l net.Listener) { s.serveMQTT(l, "tcp", nil) }},
		{"listen.http", c.HTTP, &s.addresses.HTTP, s.servePublic},
		{"listen.private", c.Private, &s.addresses.Private, s.servePrivate},
		{"listen.mqtts", c.MQTTS, &s.addresses.MQTTS, func(l net.Listener) { s.serveMQTT(l, "tls", s.o.Certificates.config()) }},
		{"listen.https", c.HTTPS, &s.addresses.HTTPS, s.serveSecure},
	}
	open := make([]net.Listener, len(all))
	for i, one := range all {
		if one.address == "" {
			continue
		}
		l, err := net.Listen("tcp", one.address)
		if err != nil {
			for _, earlier := range open[:i] {
				if earlier != nil {
					_ = earlier.Close()
				}
			}
			return fmt.Errorf("%s: %w", one.key, err)
		}
		open[i], *one.at = l, l.Addr().String()
	}
	for i, one := range all {
		if open[i] != nil {
			one.serve(open[i])
		}
	}
	return nil
}

func (s *Server) serveMQTT(l net.Listener, name string, config *tls.Config) {
	at := entrance{name: name, tls: config, proxied: s.o.Config.Proxy.MQTTHeader == configs.MQTTHeaderProxy}
	s.listeners = append(s.listeners, l)
	s.work.Go(func() { s.engine.door.accept(l, at) })
}

// serveHTTP serves with a server that Shutdown closes.
func (s *Server) serveHTTP(server *http.Server, serve func() error) {
	s.servers = append(s.servers, server)
	s.work.Go(func() { _ = serve() })
}

func (s *Server) servePublic(l net.Listener) {
	handler := s.publicHandler()
	if issuer := s.o.Certificates.issuer; issuer != nil {
		handler = issuer.manager.HTTPHandler(handler)
	}
	server := web.NewServer(handler, s.o.Logger)
	server.ConnState = (&newcomers{door: s.engine.door}).state
	s.serveHTTP(server, func() error { return server.Serve(l) })
}

func (s *Server) servePrivate(l net.Listener) {
	server := web.NewServer(web.NewPrivate(web.PrivateOptions{
		Ready: s.engine.Ready, Metrics: s.engine.scrape(), Requests: s.requests,
	}), s.o.Logger)
	s.serveHTTP(server, func() error { return server.Serve(l) })
}

// serveSecure gives a handshake the time that a CONNECT has.
func (s *Server) serveSecure(l net.Listener) {
	server := web.NewServer(s.publicHandler(), s.o.Logger)
	server.ConnState = (&newcomers{door: s.engine.door}).state
	server.ReadHeaderTimeout = s.o.Config.Limits.ConnectTimeout
	server.TLSConfig = s.o.Certificates.config("h2", "http/1.1")
	s.serveHTTP(server, func() error { return server.ServeTLS(l, "", "") })
}

func (s *Server) publicHandler() http.Handler {
	var page http.Handler
	if s.o.Config.Page {
		page = web.NewPage(string(s.o.Config.Registration))
	}
	return web.NewPublic(web.PublicOptions{
		Page: page, Origins: s.o.Config.Listen.Origins, Proxies: s.engine.door.proxies, Logger: s.o.Logger, Requests: s.requests, API: s.api,
		MQTT: func(conn net.Conn, state *tls.ConnectionState) {
			defer s.engine.door.room.leave() // which it entered as a request
			s.engine.door.serve(conn, entrance{name: "websocket"}, s.o.Certificates.client(state))
		},
	})
}
