package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// code is the one of a CONNACK for each protocol.
func code(version, three, five byte) byte {
	if version == 5 {
		return five
	}
	return three
}

func TestConnackCodes(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, disabled := w.user("alice"), w.user("disabled")
		w.exec(`UPDATE postbox.users SET disabled_at = now() WHERE name = $1`, disabled)
		body := "x"
		for name, test := range map[string]struct {
			l           login
			three, five byte
		}{
			"right":                       {login{user: alice, id: "phone"}, 0, 0},
			"longest id":                  {login{user: alice, id: strings.Repeat("x", 128)}, 0, 0},
			"id with everything":          {login{user: alice, id: "/+#$ é日"}, 0, 0},
			"wrong password":              {login{user: alice, id: "phone", password: "wrong"}, 4, 0x86},
			"no such user":                {login{user: "nobody", id: "phone"}, 4, 0x86},
			"no user name there could be": {login{user: "Not OK", id: "phone"}, 4, 0x86},
			"anonymous":                   {login{id: "phone", anonymous: true}, 4, 0x86},
			"disabled":                    {login{user: disabled, id: "phone"}, 5, 0x8a},
			"disabled, wrong password":    {login{user: disabled, id: "phone", password: "wrong"}, 4, 0x86},
			"id too long":                 {login{user: alice, id: strings.Repeat("x", 129)}, 2, 0x85},
			"control character in id":     {login{user: alice, id: "a\x01b"}, 2, 0x85},
			"will to a bad topic":         {login{user: alice, id: "phone", will: &will{topic: "nowhere", body: body}}, 2, 0x85},
			"will to the server's topic":  {login{user: alice, id: "phone", will: &will{topic: "presence/" + alice, body: body}}, 5, 0x87},
			"will to $SYS":                {login{user: alice, id: "phone", will: &will{topic: "$SYS/x", body: body}}, 5, 0x87},
			"will to what is not kept":    {login{user: alice, id: "phone", will: &will{topic: "signal/" + alice, body: body}}, 2, 0x85},
			"will to a wildcard":          {login{user: alice, id: "phone", will: &will{topic: "inbox/#", body: body}}, 2, 0x85},
		} {
			test.l.version = v
			c, ack := w.login(t, test.l)
			if want := code(v, test.three, test.five); ack.ReasonCode != want || ack.SessionPresent && want != 0 {
				t.Errorf("%s: CONNACK %#x, want %#x", name, ack.ReasonCode, want)
			}
			if ack.ReasonCode == 0 {
				c.Leave()
			} else if _, err := c.Next(); err == nil {
				t.Errorf("%s: something follows the refusal", name)
			}
		}
	})
}

// An id that is empty is assigned by the server, where the protocol allows it:
// with a clean start, and in 5 always. [MQTT-3.1.3-8]
func TestEmptyClientID(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	for _, test := range []struct {
		l    login
		code byte
	}{
		{login{version: 4, user: alice, clean: true}, 0},
		{login{version: 5, user: alice, clean: true}, 0},
		{login{version: 5, user: alice}, 0},
		{login{version: 4, user: alice}, 2},
		{login{version: 3, user: alice}, 2},
	} {
		c, ack := w.login(t, test.l)
		if ack.ReasonCode != test.code {
			t.Errorf("version %d, clean %v: CONNACK %#x, want %#x", test.l.version, test.l.clean, ack.ReasonCode, test.code)
			continue
		}
		if assigned := ack.Properties.AssignedClientID; test.l.version == 5 && assigned == "" {
			t.Error("no id was assigned")
		}
		if test.code == 0 {
			c.listen(alice)
			c.say("inbox/"+alice, "x")
		}
	}
}

// 3.1.1 knows the codes 0 to 5 only.
func TestConnackCodesOf3(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	for name, l := range map[string]login{
		"empty will":      {user: alice, id: "phone", will: &will{topic: "inbox/" + alice}},
		"empty id":        {user: alice},
		"only a password": {id: "phone", password: "x"},
		"no will topic":   {user: alice, id: "phone", will: &will{body: "x"}},
	} {
		if _, ack := w.login(t, l); ack.ReasonCode > 5 {
			t.Errorf("%s: CONNACK %#x", name, ack.ReasonCode)
		}
	}
}

// A will may be without a payload [MQTT-3.1.3-12 of 3.1.1].
func TestEmptyWillIsAllowed(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		c, ack := w.login(t, login{version: v, user: alice, id: "phone", will: &will{topic: "inbox/" + alice}})
		if ack.ReasonCode != 0 {
			t.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		c.Vanish()
		await(t, "the will", func() bool { return w.stored(alice, "") == 1 })
	})
}

// CONNACK tells a client of 5 what it may do.
func TestConnackAnnounces(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	_, ack := w.login(t, login{version: 5, user: alice, id: "phone", keepAlive: 60})
	p := ack.Properties
	if p.ReceiveMaximum != 256 || p.MaximumPacketSize != 256<<10 || !p.SharedSubAvailableFlag || p.SharedSubAvailable != 0 {
		t.Errorf("Receive Maximum %d, Maximum Packet Size %d, shared subscriptions %v %d",
			p.ReceiveMaximum, p.MaximumPacketSize, p.SharedSubAvailableFlag, p.SharedSubAvailable)
	}
	if p.TopicAliasMaximum != 0 || p.MaximumQosFlag || p.RetainAvailableFlag && p.RetainAvailable == 0 || p.ServerKeepAliveFlag {
		t.Errorf("announced %+v", p)
	}
}

// The keep-alive is bounded, also for clients that want none; silence beyond
// one and a half of it ends the connection.
func TestKeepAliveIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.KeepAlive = time.Second })
	alice := w.user("alice")
	for _, v := range []byte{4, 5} {
		for asked, announced := range map[uint16]bool{0: true, 2: true, 65535: true, 1: false} {
			t.Run(fmt.Sprintf("version %d, %d s", v, asked), func(t *testing.T) {
				t.Parallel()
				began := time.Now() // no later than the silence does, whatever the machine is doing
				c, ack := w.login(t, login{version: v, user: alice, id: fmt.Sprint(v, asked), keepAlive: asked, clean: true})
				if v == 5 && (ack.Properties.ServerKeepAliveFlag != announced || announced && ack.Properties.ServerKeepAlive != 1) {
					t.Errorf("server keep-alive %v %d", ack.Properties.ServerKeepAliveFlag, ack.Properties.ServerKeepAlive)
				}
				c.Ended()
				if took := time.Since(began); took < 1400*time.Millisecond {
					t.Errorf("silent, and ended after %v, want 1.5 s", took)
				}
			})
		}
	}
}

// A client may be silent for its whole keep-alive, however short it is.
// [MQTT-3.1.2-22]
func TestShortKeepAlive(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{user: alice, id: "phone", keepAlive: 1})
	began := time.Now()
	c.Quiet()
	time.Sleep(200 * time.Millisecond)
	c.Quiet() // its silence begins here
	_ = c.Net.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.In.ReadByte(); err == nil {
		t.Error("something came")
	}
	if silent := time.Since(began) - 200*time.Millisecond; silent < 1400*time.Millisecond {
		t.Errorf("ended after %v of silence, want 1.5 s", silent)
	}
}

// What is no CONNECT, too large or too slow is cut off before anything else.
func TestBeforeConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.ConnectTimeout = 500 * time.Millisecond })
	alice := w.user("alice")
	for name, b := range map[string][]byte{
		"PINGREQ":     {0xc0, 0},
		"PUBLISH":     publication{topic: "inbox/" + alice, body: "x"}.encoded(t),
		"HTTP":        []byte("GET / HTTP/1.1\r\n\r\n"),
		"32 KiB":      {0x10, 0x81, 0x80, 0x02},
		"256 MiB":     {0x10, 0xff, 0xff, 0xff, 0x7f},
		"endless":     {0x10, 0x80, 0x80, 0x80, 0x80, 0x80},
		"nothing":     {},
		"a byte":      {0x10},
		"half of one": login{user: alice, id: "phone"}.packetBytes(t)[:10],
	} {
		for how, dial := range w.ways() {
			t.Run(name+" by "+how, func(t *testing.T) {
				t.Parallel()
				c := dial(t)
				if len(b) > 0 {
					c.Write(b)
				}
				began := time.Now()
				if pk, err := c.Next(); err == nil {
					t.Errorf("got a %s", packets.PacketNames[pk.FixedHeader.Type])
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("ended after %v", took)
				}
			})
		}
	}
}

func (p publication) encoded(t testing.TB) []byte {
	pk := p.packet()
	pk.ProtocolVersion = 4
	return mqtttest.Encode(t, pk)
}

func (l login) packetBytes(t testing.TB) []byte { return mqtttest.Encode(t, l.packet()) }

// One address may have so many connections that have not said CONNECT; those
// that have do not count.
func TestConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	const limit = 3
	w := newWorld(t, func(w *world) { w.config.Limits.ConnectionsPerAddress = limit })
	alice := w.user("alice")
	for n := range 2 * limit {
		w.connect(t, login{user: alice, id: fmt.Sprint(n)})
	}
	// Of so many at once all but the limit are closed, in whatever order they
	// are served.
	const more = 2
	ended := make(chan int, limit+more)
	waiting := make([]*wire, limit+more)
	for i := range waiting {
		c := w.dial(t)
		c.Write([]byte{0x10})
		waiting[i] = c
		go func() {
			_, _ = c.Net.Read(make([]byte, 1))
			ended <- i
		}()
	}
	for range more {
		select {
		case i := <-ended:
			waiting[i] = nil
		case <-time.After(patience):
			t.Fatal("more are waited for than may be")
		}
	}
	refused := func() bool {
		c := w.dial(t)
		_, _ = c.Net.Write(login{user: alice, id: "more"}.packetBytes(t))
		_, err := c.Next()
		_ = c.Net.Close()
		return err != nil
	}
	if !refused() {
		t.Error("one more was let in")
	}
	for _, c := range waiting {
		if c != nil {
			c.Vanish()
			break
		}
	}
	await(t, "room for one more", func() bool { return !refused() })
}

// A protocol level that is not ours is refused with the code that says so:
// bridges of mosquitto try one of their own first. [MQTT-3.1.2-2]
func TestUnknownProtocolLevel(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	for level, want := range map[byte]byte{0: 1, 1: 1, 2: 1, 6: 0x84, 0x83: 1, 0x84: 1} {
		b := login{user: alice, id: "phone"}.packetBytes(t)
		b[8] = level
		c := w.dial(t)
		c.Write(b)
		if ack := c.Expect(packets.Connack); ack.ReasonCode != want && ack.ReasonCode != 1 {
			t.Errorf("level %#x: CONNACK %#x, want %#x", level, ack.ReasonCode, want)
		}
		c.Ended()
	}
}

// Enhanced authentication is not offered. [MQTT-4.12.0-1]
func TestAuthenticationMethodIsRefused(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	_, ack := w.login(t, login{version: 5, user: alice, id: "phone", props: packets.Properties{AuthenticationMethod: "SCRAM-SHA-1"}})
	if ack.ReasonCode != packets.ErrBadAuthenticationMethod.Code {
		t.Errorf("CONNACK %#x, want 0x8c", ack.ReasonCode)
	}
}
