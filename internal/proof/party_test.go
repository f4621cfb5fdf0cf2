package proof

import (
	"database/sql"
	"fmt"
	"testing"
)

// party is a load of every kind of sender, and devices that follow.
type party struct {
	*testing.T
	s           *Server
	tap         *Tap
	load        *load
	clients     []*Client // the libraries, those who listen too
	phone, desk *Ledger
}

// newParty makes users and connects those who listen: bob's phone and alice's
// desk.
func newParty(t *testing.T, s *Server) *party {
	t.Helper()
	p := &party{
		T: t, s: s, tap: StartTap(t, s.MQTT, s.HTTP),
		phone: NewLedger("bob/phone", 0), desk: NewLedger("alice/desk", 0),
	}
	p.load = &load{tap: p.tap}
	for _, user := range []string{"alice", "dave", "bob", "carol"} {
		s.AddUser(user, user+"'s secret")
	}
	d := StartGoDriver(t)
	for _, l := range []*Ledger{p.phone, p.desk} {
		user := map[*Ledger]string{p.phone: "bob", p.desk: "alice"}[l]
		c := d.Connect(ClientOptions{
			Library: Paho5, URL: "mqtt://" + s.MQTT, ID: l.Name[len(user)+1:], User: user, Password: user + "'s secret",
			Expiry: 3600, OnMessage: l.Add, Subscribe: []Subscription{{"inbox/" + user, 1}},
		})
		c.WaitUp(t)
		p.clients = append(p.clients, c)
	}
	return p
}

// libraries connects senders of every kind through the tap: those that send
// again with DUP, and those with keys.
func (p *party) libraries() {
	p.Helper()
	goDriver, node := StartGoDriver(p), StartNodeDriver(p)
	for _, s := range []struct {
		driver  *Driver
		library Library
		version int
		user    string
		qos     byte
		keyed   bool
	}{
		{goDriver, Paho3, 0, "alice", 1, false},
		{goDriver, Paho3, 0, "dave", 2, false},
		{goDriver, Paho5, 5, "alice", 2, false},
		{goDriver, Paho5, 5, "dave", 1, false},
		{node, MQTTJS, 4, "alice", 1, true},
		{node, MQTTJS, 5, "dave", 2, true},
	} {
		id := fmt.Sprintf("%s-%d-%d", s.library, s.version, s.qos)
		c := s.driver.Connect(ClientOptions{
			Library: s.library, Version: s.version, URL: "mqtt://" + p.tap.Addr, ID: id, User: s.user, Password: s.user + "'s secret", Expiry: 3600,
		})
		c.WaitUp(p)
		p.clients = append(p.clients, c)
		p.load.pumps = append(p.load.pumps, pumpLibrary(c, 60, func(n int) Publication {
			o := Publication{Topic: "inbox/bob", QoS: s.qos, Body: fmt.Appendf(nil, "%s/%s %d", s.user, id, n)}
			if s.keyed {
				o.Topic += fmt.Sprintf("/%s-%d", id, n)
			}
			return o
		}))
	}
}

// lines connects a mosquitto_pub, which ends when a CONNECT is refused.
func (p *party) lines() {
	p.Helper()
	m := Mosquitto{p.tap.Addr, "311", "lines", "alice", "alice's secret"}
	p.load.pumps = append(p.load.pumps, pumpLines(m, m.PublishLines(p, "inbox/bob", 1), 60, func(n int) string {
		return fmt.Sprintf("alice/lines %d", n)
	}))
}

// drain ends the load: all of it is acknowledged.
func (p *party) drain() {
	p.Helper()
	p.load.drain(p.T)
}

// audit compares what was on the wire with what is stored and delivered, and
// returns how many messages there are, but for those of devices beside the tap.
func (p *party) audit(db *sql.DB, beside ...string) int {
	p.Helper()
	a := audit{t: p.T, tap: p.tap, db: db, beside: map[string]bool{}}
	for _, device := range beside {
		a.beside[device] = true
	}
	n := a.run()
	a.devices("bob", p.phone)
	a.devices("alice", p.desk)
	return n
}
