package proof

import (
	"fmt"
	"testing"
	"time"
)

// siege is a server with its ordinary rates, neighbours who mind their business,
// and mallory; and a server beside it that is left in peace.
type siege struct {
	*testing.T
	s      *Server
	inside *neighbours
	beside *neighbours
	long   time.Duration // of a measure
	began  time.Time
}

// connectTime is from accepting a connection to its CONNECT.
const connectTime = 3 * time.Second

// Mallory and strangers lay siege to one server, with whatever costs it something,
// and in its order: publishes, connects, packets and silence.
func TestSiege(t *testing.T) {
	g := newSiege(t)
	g.publishFloods()
	g.connectFloods()
	g.packetFloods()
	g.crowds()
	g.inside.at.Check(t)
	g.beside.at.Check(t)
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	g := &siege{T: t, began: time.Now(), long: time.Second}
	if soak {
		g.long = time.Minute
	}
	o := ServerOptions{NoRace: true, Env: []string{
		"POSTBOX_LIMITS_PUBLISH_RATE=50", "POSTBOX_LIMITS_PACKET_RATE=100", "POSTBOX_LIMITS_CONNECT_RATE=100",
		"POSTBOX_LIMITS_CONNECT_TIMEOUT=" + connectTime.String(),
	}}
	g.s = StartServer(t, o)
	g.inside, g.beside = newNeighbours(t, g.s), newNeighbours(t, StartServer(t, o))
	g.s.AddUser("mallory", "mallory's secret")
	return g
}

// measure lets the neighbours write for a while, at both servers.
func (g *siege) measure() (in, out Delays) {
	g.Helper()
	return both(g, g.inside, g.beside, g.long)
}

// withstand measures before and during an attack, and looks for what is left of it.
func (g *siege) withstand(name string, hands int, round func(a *Attack, hand int)) *Attack {
	g.Helper()
	before, _ := g.measure()
	goroutines := g.s.Goroutines()
	idle, _ := Resident(g, g.s.PID())
	ResetPeak(g, g.s.PID())
	a := StartAttack(g, hands, round)
	g.Logf("%s:", name)
	used, began := Processor(g, g.s.PID()), time.Now()
	withstood(g, before, g.measure)
	share := (Processor(g, g.s.PID()) - used).Seconds() / time.Since(began).Seconds()
	g.Logf("%s: the server used %.0f %% of a processor", name, 100*share)
	if share > 1 { // or it is the server that keeps the machine busy
		g.Errorf("%s: the server used %.1f processors", name, share)
	}
	a.Stop()
	g.Logf("%s: %d connections, %d packets; %d by WebSocket", name, a.rounds.Load(), a.sent.Load(), a.webs.Load())
	if a.webs.Load() == 0 {
		g.Errorf("%s: nothing came by WebSocket", name)
	}
	flatMemory(g, g.s, idle, name)
	g.s.WaitGoroutines(goroutines)
	g.nothingLeft()
	return a
}

// nothingLeft fails the test if the database knows of a connection of mallory's,
// or of a session or subscription that she did not have.
func (g *siege) nothingLeft() {
	g.Helper()
	db := g.s.DB()
	defer db.Close()
	const count = `SELECT count(d.id) FILTER (WHERE d.disconnected_at IS NULL), count(d.id), count(s.device_id)
		FROM postbox.users u LEFT JOIN postbox.devices d ON d.user_id = u.id LEFT JOIN postbox.subscriptions s ON s.device_id = d.id
		WHERE u.name = 'mallory'`
	var connected, sessions, subscriptions int
	if err := db.QueryRow(count).Scan(&connected, &sessions, &subscriptions); err != nil {
		g.Fatal(err)
	}
	if connected+sessions+subscriptions > 0 {
		g.Errorf("of mallory are left %d connections, %d sessions, %d subscriptions", connected, sessions, subscriptions)
	}
}

// mallory is one of her hands: half of them go by WebSocket, with each version.
func (g *siege) mallory(version byte, hand int) RawConnect {
	return RawConnect{
		Version: version, ID: fmt.Sprint("hand-", hand), User: "mallory", Password: "mallory's secret", Clean: true,
		From: elsewhere, WebSocket: byWebSocket(hand),
	}
}

func byWebSocket(hand int) bool { return hand%4 >= 2 }

// at is where somebody connects.
func (g *siege) at(c RawConnect) string {
	if c.WebSocket {
		return g.s.HTTP
	}
	return g.s.MQTT
}

// elsewhere is the address that attacks come from.
const elsewhere = "127.0.0.66"

// Mallory floods the server with each kind of packet. Who exceeds the packet rate
// is sent away and told so; publishes, refused ones too, are read more slowly;
// and others notice nothing.
func (g *siege) packetFloods() {
	inbox := func(b []byte) []byte { return append(appendText(b, "inbox/mallory"), 1) }
	for _, flood := range []struct {
		name   string
		deaf   bool
		told   byte // of MQTT 5
		packet func(n int, version byte) []byte
	}{
		{"PINGREQ", false, 0x96, func(int, byte) []byte { return []byte{0xc0, 0} }},
		{"SUBSCRIBE and UNSUBSCRIBE", false, 0x96, func(n int, v byte) []byte {
			if n%2 == 0 {
				return numbered(0xa2, n, v, func(b []byte) []byte { return appendText(b, "inbox/mallory") })
			}
			return numbered(0x82, n, v, inbox)
		}},
		{"refused SUBSCRIBEs", false, 0x96, func(n int, v byte) []byte {
			return numbered(0x82, n, v, func(b []byte) []byte { return append(appendText(b, "inbox/bob"), 1) })
		}},
		{"acknowledgements of nothing", false, 0x96, func(n int, v byte) []byte {
			return numbered([]byte{0x40, 0x50, 0x62, 0x70}[n%4], n, v, nil)
		}},
		{"one QoS 2 publish again and again", false, 0x96, func(_ int, v byte) []byte { return publication(1, v, 2, "inbox/mallory", "again") }},
		{"refused publishes", false, 0, func(n int, v byte) []byte { return publication(n, v, byte(n%2), "$SYS/broker/uptime", "x") }},
		{"refused publishes, nothing read", true, 0, func(n int, v byte) []byte { return publication(n, v, 0, "inbox/bob/since/0", "x") }},
		{"PINGREQ, nothing read", true, 0, func(int, byte) []byte { return []byte{0xc0, 0} }},
	} {
		a := g.withstand(flood.name, 4, func(a *Attack, hand int) {
			v := byte(4 + hand%2)
			c := g.mallory(v, hand)
			a.Pour(g.at(c), c, flood.deaf, func(n int) []byte { return flood.packet(n, v) })
		})
		if flood.told != 0 && a.told[flood.told].Load() == 0 {
			g.Errorf("%s: nobody was told 0x%02x", flood.name, flood.told)
		}
	}
}

// Mallory floods the server with messages, to herself: at each QoS she is read as
// slowly as her rate says, and refused nothing.
func (g *siege) publishFloods() {
	for qos := range byte(3) {
		a := g.withstand(fmt.Sprintf("PUBLISH at QoS %d", qos), 4, func(a *Attack, hand int) {
			v := byte(4 + hand%2)
			c := g.mallory(v, hand)
			c.ReceiveMaximum = 100
			a.Pour(g.at(c), c, qos > 0, func(n int) []byte { return publication(n, v, qos, "inbox/mallory", "flood") })
		})
		if n := a.told[0x97].Load(); n > 0 {
			g.Errorf("QoS %d: %d were told 0x97", qos, n)
		}
	}
	db := g.s.DB()
	defer db.Close()
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = 'mallory'`).Scan(&n); err != nil {
		g.Fatal(err)
	}
	if most := 500 + int(50*time.Since(g.began).Seconds()) + 50; n > most || n == 0 {
		g.Errorf("%d messages of a flood are stored, want at most %d, and some", n, most)
	}
}

// Strangers guess passwords, and mallory connects, as fast as they can. Others
// notice nothing, somebody new is let in meanwhile, and no ghost is left.
func (g *siege) connectFloods() {
	t := g.T
	g.s.AddUser("carol", "carol's secret")
	token := g.s.Token("carol")
	letIn := func(name string) {
		t.Helper()
		began := time.Now()
		_, code, _ := DialRaw(t, g.s.MQTT, RawConnect{Version: 4, ID: name, User: "carol", Password: token, Clean: true})
		t.Logf("%s: somebody else connects in %v", name, time.Since(began).Round(time.Millisecond))
		if code != 0 || time.Since(began) > 5*time.Second {
			t.Errorf("%s: somebody else connects: CONNACK 0x%02x after %v", name, code, time.Since(began))
		}
	}
	began := time.Now()
	guess := g.withstand("guesses", 60, func(a *Attack, hand int) {
		c := RawConnect{Version: 4 + byte(hand%2), ID: "guess", User: "bob", Password: fmt.Sprint("guess ", hand, a.rounds.Load()), Clean: true, From: elsewhere, WebSocket: byWebSocket(hand)}
		if hand%2 == 0 {
			c.User = fmt.Sprint("user", a.rounds.Load())
		}
		if hand == 0 && a.rounds.Load() == 200 {
			letIn("guesses")
		}
		a.Knock(g.at(c), c)
	})
	wrong, later := guess.told[4].Load()+guess.told[0x86].Load(), guess.told[3].Load()+guess.told[0x88].Load()
	t.Logf("guesses: %d were told that they are wrong, %d to come again", wrong, later)
	if most := 60 + int64(5*time.Since(began).Seconds()); wrong == 0 || wrong > most {
		t.Errorf("%d guesses were told that they are wrong, want some and at most %d", wrong, most)
	}
	// Nobody is locked out: bob is known here, from where the guesses come too.
	if _, code, _ := DialRaw(t, g.s.MQTT, RawConnect{Version: 4, ID: "tablet", User: "bob", Password: "bob's secret", Clean: true, From: elsewhere}); code != 0 {
		t.Errorf("bob after the guesses: CONNACK 0x%02x", code)
	}
	for name, round := range map[string]func(a *Attack, c RawConnect){
		"connects": func(a *Attack, c RawConnect) { a.Knock(g.at(c), c) },
		"connects to one id": func(a *Attack, c RawConnect) {
			c.ID = "hand"
			a.Knock(g.at(c), c)
		},
		"connects and resets": func(a *Attack, c RawConnect) {
			a.KnockAndRun(g.at(c), c)
			time.Sleep(20 * time.Millisecond) // four times the rate; more and what is measured is who makes it
		},
	} {
		g.withstand(name, 8, func(a *Attack, hand int) {
			if hand == 0 && a.rounds.Load() == 200 {
				letIn(name)
			}
			round(a, g.mallory(byte(4+hand%2), hand))
		})
	}
}
