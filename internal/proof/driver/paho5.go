package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/memory"
	"github.com/eclipse/paho.golang/paho"
)

// client5 is paho.golang with its reconnecting autopaho, MQTT 5.
type client5 struct {
	name string
	c    *autopaho.ConnectionManager
}

func connect5(cmd command) client {
	p := &client5{name: cmd.Client}
	u, err := url.Parse(cmd.URL)
	if err != nil {
		panic(err)
	}
	cfg := autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{u},
		KeepAlive:                     30,
		CleanStartOnInitialConnection: cmd.Clean,
		SessionExpiryInterval:         cmd.Expiry,
		ReconnectBackoff:              autopaho.NewConstantBackoff(time.Duration(cmd.ReconnectMS) * time.Millisecond),
		Queue:                         memory.New(),
		ConnectUsername:               cmd.User,
		ConnectPassword:               []byte(cmd.Password),
		OnConnectionUp: func(c *autopaho.ConnectionManager, ack *paho.Connack) {
			tell(event{Event: "up", Client: p.name, Session: ack.SessionPresent})
			go p.subscribe(c, cmd.Subscribe)
		},
		OnConnectError: func(err error) {
			e := event{Event: "error", Client: p.name, Error: err.Error()}
			var refused *autopaho.ConnackError
			if errors.As(err, &refused) {
				e.Code = int(refused.ReasonCode)
			}
			tell(e)
		},
		ClientConfig: paho.ClientConfig{
			ClientID: cmd.ID,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){
				func(r paho.PublishReceived) (bool, error) {
					p.received(r.Packet)
					return true, nil
				},
			},
			OnClientError: func(error) { tell(event{Event: "down", Client: p.name}) },
			OnServerDisconnect: func(d *paho.Disconnect) {
				tell(event{Event: "disconnected", Client: p.name, Code: int(d.ReasonCode)})
				tell(event{Event: "down", Client: p.name})
			},
		},
	}
	p.c, err = autopaho.NewConnection(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	return p
}

func (p *client5) received(m *paho.Publish) {
	e := event{Event: "message", Client: p.name, Topic: m.Topic, QoS: m.QoS, Dup: m.Duplicate(), Retain: m.Retain, Body: m.Payload, User: map[string][]string{}}
	if m.Properties != nil {
		e.ContentType = m.Properties.ContentType
		e.UTF8 = m.Properties.PayloadFormat != nil && *m.Properties.PayloadFormat == 1
		for _, u := range m.Properties.User {
			e.User[u.Key] = append(e.User[u.Key], u.Value)
		}
	}
	tell(e)
}

func (p *client5) subscribe(c *autopaho.ConnectionManager, to []subscription) {
	if len(to) == 0 {
		return
	}
	s := &paho.Subscribe{}
	for _, one := range to {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: one.Topic, QoS: one.QoS})
	}
	ack, err := c.Subscribe(context.Background(), s)
	e := event{Event: "subscribed", Client: p.name}
	if ack != nil {
		for _, r := range ack.Reasons {
			e.Codes = append(e.Codes, int(r))
		}
	}
	if err != nil {
		e.Error = err.Error()
	}
	tell(e)
}

func (p *client5) publish(cmd command) {
	m := &paho.Publish{Topic: cmd.Topic, QoS: cmd.QoS, Payload: cmd.Body, Properties: &paho.PublishProperties{ContentType: cmd.ContentType}}
	for k, v := range cmd.Properties {
		m.Properties.User.Add(k, v)
	}
	if cmd.Queue {
		if err := p.c.PublishViaQueue(context.Background(), &autopaho.QueuePublish{Publish: m}); err != nil {
			tell(event{Event: "error", Client: p.name, N: cmd.N, Error: err.Error()})
		}
		return
	}
	go func() {
		r, err := p.c.Publish(context.Background(), m)
		e := event{Event: "answered", Client: p.name, N: cmd.N}
		if r != nil {
			e.Code = int(r.ReasonCode)
			if r.Properties != nil {
				e.User = map[string][]string{}
				for _, u := range r.Properties.User {
					e.User[u.Key] = append(e.User[u.Key], u.Value)
				}
			}
		}
		if err != nil {
			e.Error = err.Error()
		}
		tell(e)
	}()
}

func (p *client5) disconnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.c.Disconnect(ctx); err != nil {
		tell(event{Event: "error", Client: p.name, Error: err.Error()})
	}
	tell(event{Event: "ended", Client: p.name})
}
