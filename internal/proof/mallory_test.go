package proof

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// Mallory has an account like everybody and tries to read what is not hers.
func TestMalloryCannotRead(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	for _, user := range []string{"bob", "mallory"} {
		s.AddUser(user, user+"'s secret")
	}
	for _, version := range []byte{3, 4, 5} {
		refused := byte(0x80)
		if version == 5 {
			refused = 0x87
		}
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			r, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: version, ID: fmt.Sprintf("m%d", version), User: "mallory", Password: "mallory's secret", Clean: true})
			if code != 0 {
				t.Fatalf("CONNACK %d", code)
			}
			for _, filter := range []string{
				"inbox/bob", "inbox/#", "inbox/+", "#", "+/bob", "+/#", "inbox/bob/#", "inbox/bob/since/x:0",
				"$share/g/inbox/bob", "$share/g/inbox/#", "$share/g/#", "signal/bob", "signal/#", "reply/bob/#", "reply/#", "reply/+/x",
				"room/dev", "api/v1/send", "api/#", "$SYS/#", "$SYS/broker/uptime", "/inbox/bob", "inbox/bob/", "inbox//bob", "elsewhere",
			} {
				if got := r.Subscribe(filter); got != refused {
					t.Errorf("SUBSCRIBE %s: 0x%02x, want 0x%02x", filter, got, refused)
				}
			}
			if got := r.Subscribe("inbox/mallory"); got != 1 {
				t.Errorf("SUBSCRIBE inbox/mallory: 0x%02x, want 1", got)
			}
			bob, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 4, ID: "b", User: "bob", Password: "bob's secret", Clean: true})
			if code != 0 {
				t.Fatalf("CONNACK of bob %d", code)
			}
			bob.Publish("inbox/bob", "note to myself", true)
			r.Silent()
		})
	}
}

// The client id is the device's name beside its user's: mallory, with bob's
// client id, neither disturbs his device nor gets its session.
func TestMalloryCannotTakeOver(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	for _, user := range []string{"bob", "mallory"} {
		s.AddUser(user, user+"'s secret")
	}
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			as := func(user string) RawConnect {
				return RawConnect{Version: version, ID: fmt.Sprintf("phone%d", version), User: user, Password: user + "'s secret", Expiry: 3600}
			}
			bob, code, _ := DialRaw(t, s.MQTT, as("bob"))
			if code != 0 || bob.Subscribe("inbox/bob") != 1 {
				t.Fatalf("bob cannot subscribe; CONNACK %d", code)
			}
			mallory, code, session := DialRaw(t, s.MQTT, as("mallory"))
			if code != 0 || session {
				t.Errorf("CONNACK of mallory %d, session present %v; want 0, false", code, session)
			}
			if !bob.Alive() {
				t.Error("bob's device was disconnected")
			}
			mallory.Publish("inbox/bob", "hello", false)
			mallory.Silent()
			again, code, session := DialRaw(t, s.MQTT, as("bob"))
			if code != 0 || !session {
				t.Errorf("bob came back: CONNACK %d, session present %v; want 0, true", code, session)
			}
			if _, reason := bob.WaitEnd(5 * time.Second); version == 5 && reason != 0x8e {
				t.Errorf("bob's old connection ended with 0x%02x, want 0x8e", reason)
			}
			if !again.Alive() || !mallory.Alive() {
				t.Error("a connection of another device ended with it")
			}
		})
	}
}

// What she writes is hers by name, goes where it may, and is not kept.
func TestMalloryCannotForge(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	for _, user := range []string{"bob", "mallory"} {
		s.AddUser(user, user+"'s secret")
	}
	connect := func(version byte, id string) *Raw {
		r, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: version, ID: id, User: "mallory", Password: "mallory's secret", Clean: true})
		if code != 0 {
			t.Fatalf("CONNACK %d", code)
		}
		return r
	}
	r := connect(5, "writer")
	for _, topic := range []string{
		"inbox/nobody-of-this-name", "inbox/bob/since/x:0", "inbox/bob/a/b", "inbox", "inbox/", "inbox/Bob", "inbox/bob/",
		"presence/bob", "reply/bob/x", "signal", "room/nowhere", "elsewhere", "/inbox/bob", "$SYS/broker/uptime",
	} {
		if reason, user := r.Publish(topic, "x", false); reason < 0x80 || len(user["code"]) != 1 {
			t.Errorf("PUBLISH to %s: 0x%02x %v, want a refusal with its code", topic, reason, user)
		}
	}
	old := connect(4, "old")
	if reason, _ := old.Publish("inbox/nobody-of-this-name", "x", false); reason != 0 || !old.Alive() {
		t.Errorf("refused 3.1.1 publish: reason %d, want an acknowledgement and an open connection", reason)
	}
	if reason, _ := old.Publish("$SYS/broker/uptime", "x", false); reason != 0 || !old.Alive() {
		t.Errorf("refused 3.1.1 publish to $SYS: reason %d, want an acknowledgement and an open connection", reason)
	}
	if reason, _ := r.Publish("inbox/bob", "retained?", true); reason != 0 {
		t.Errorf("PUBLISH with RETAIN: 0x%02x, want 0", reason)
	}
	bob, _, _ := DialRaw(t, s.MQTT, RawConnect{Version: 4, ID: "b", User: "bob", Password: "bob's secret", Clean: true})
	if code := bob.Subscribe("inbox/bob"); code != 1 {
		t.Fatalf("SUBSCRIBE: 0x%02x", code)
	}
	bob.Silent()
}

// A wrong name or password is told so, as is a device without a usable name.
func TestMalloryCannotConnect(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	s.AddUser("bob", "bob's secret")
	for _, c := range []struct {
		name         string
		connect      RawConnect
		code3, code5 byte
	}{
		{"right", RawConnect{ID: "d", User: "bob", Password: "bob's secret"}, 0, 0},
		{"wrong password", RawConnect{ID: "d", User: "bob", Password: "guess"}, 4, 0x86},
		{"empty password", RawConnect{ID: "d", User: "bob"}, 4, 0x86},
		{"no such user", RawConnect{ID: "d", User: "nobody", Password: "bob's secret"}, 4, 0x86},
		{"empty user", RawConnect{ID: "d", Password: "bob's secret"}, 4, 0x86},
		{"empty user and password", RawConnect{ID: "d"}, 4, 0x86},
		{"anonymous", RawConnect{ID: "d", Anonymous: true}, 4, 0x86},
		{"name in capitals", RawConnect{ID: "d", User: "BOB", Password: "bob's secret"}, 4, 0x86},
		{"control character in the id", RawConnect{ID: "d\x01", User: "bob", Password: "bob's secret"}, 2, 0x85},
		{"long id", RawConnect{ID: fmt.Sprintf("%0129d", 1), User: "bob", Password: "bob's secret"}, 2, 0x85},
		{"will to a stranger", RawConnect{ID: "d", User: "bob", Password: "bob's secret", WillTopic: "presence/bob", WillBody: "x"}, 5, 0x87},
	} {
		for _, version := range []byte{4, 5} {
			c.connect.Version, c.connect.Clean = version, true
			want := c.code3
			if version == 5 {
				want = c.code5
			}
			t.Run(fmt.Sprintf("%s/version %d", c.name, version), func(t *testing.T) {
				if _, code, _ := DialRaw(t, s.MQTT, c.connect); code != want {
					t.Errorf("CONNACK 0x%02x, want 0x%02x", code, want)
				}
			})
		}
	}
	t.Run("no CONNECT at all", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(packet(typePublish<<4, appendText(nil, "inbox/bob"))); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if f, err := readFrame(bufio.NewReader(conn)); err == nil {
			t.Errorf("answered with a packet of type %d", f.kind())
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("the connection is still open after %v", patience)
		}
	})
}
