package main

import (
	"errors"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// client3 is paho.mqtt.golang, MQTT 3.1.1.
type client3 struct {
	name string
	c    mqtt.Client
}

func connect3(cmd command) client {
	p := &client3{name: cmd.Client}
	o := mqtt.NewClientOptions().
		AddBroker(cmd.URL).SetClientID(cmd.ID).SetUsername(cmd.User).SetPassword(cmd.Password).
		SetCleanSession(cmd.Clean).
		SetMaxReconnectInterval(time.Duration(cmd.ReconnectMS) * time.Millisecond)
	// Before Connect: a resumed session delivers at once.
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		tell(event{Event: "message", Client: p.name, Topic: m.Topic(), QoS: m.Qos(), Dup: m.Duplicate(), Retain: m.Retained(), Body: m.Payload()})
	})
	o.SetConnectionLostHandler(func(mqtt.Client, error) { tell(event{Event: "down", Client: p.name}) })
	o.SetConnectionNotificationHandler(func(_ mqtt.Client, n mqtt.ConnectionNotification) {
		if f, ok := n.(mqtt.ConnectionNotificationBrokerFailed); ok {
			tell(event{Event: "error", Client: p.name, Error: f.Reason.Error(), Code: connackCode(f.Reason)})
		}
	})
	o.SetOnConnectHandler(func(c mqtt.Client) {
		tell(event{Event: "up", Client: p.name})
		p.subscribe(cmd.Subscribe)
	})
	p.c = mqtt.NewClient(o)
	p.c.Connect()
	return p
}

func connackCode(err error) int {
	for code, known := range packets.ConnErrors {
		if known != nil && errors.Is(err, known) {
			return int(code)
		}
	}
	return 0
}

func (p *client3) subscribe(to []subscription) {
	if len(to) == 0 {
		return
	}
	filters := map[string]byte{}
	for _, s := range to {
		filters[s.Topic] = s.QoS
	}
	t := p.c.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	t.Wait()
	e := event{Event: "subscribed", Client: p.name}
	for _, s := range to {
		e.Codes = append(e.Codes, int(t.Result()[s.Topic]))
	}
	if err := t.Error(); err != nil {
		e.Error = err.Error()
	}
	tell(e)
}

func (p *client3) publish(cmd command) {
	t := p.c.Publish(cmd.Topic, cmd.QoS, false, cmd.Body)
	if cmd.Queue {
		return
	}
	go func() {
		t.Wait()
		e := event{Event: "answered", Client: p.name, N: cmd.N}
		if err := t.Error(); err != nil {
			e.Error = err.Error()
		}
		tell(e)
	}()
}

func (p *client3) disconnect() {
	p.c.Disconnect(250)
	tell(event{Event: "ended", Client: p.name})
}
