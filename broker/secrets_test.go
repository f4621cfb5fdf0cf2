package broker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/configs"
	"postbox/internal/mqtttest"
)

// output is all that a server writes.
type output struct {
	mu sync.Mutex // guards text
	bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.String()
}

// What a client says and nobody else may read. Nothing of it is ever logged, at
// no level, in no form.
const (
	secretBody     = "BODY-zq7x-a-message-that-nobody-else-may-read"
	secretPassword = "PASSWORD-kv3j-wrong"
	secretKey      = "KEY-mm2w-idempotent"
	secretRef      = `{"REF-pp9r":"quoted"}`
	secretProperty = "PROPERTY-ht5c"
	secretRenewed  = "RENEWED-wd8n-password"
)

// forms are the spellings in which a secret might appear.
func forms(secret string) []string {
	raw := []byte(secret[:min(len(secret), 12)])
	return []string{
		secret, base64.StdEncoding.EncodeToString(raw), hex.EncodeToString(raw), strings.Trim(fmt.Sprint(raw), "[]"),
	}
}

// A server at its most talkative says nothing of what clients say: not of bodies,
// passwords, tokens and keys, whatever is done with them and whatever goes wrong.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	var out output
	log.SetOutput(&tee{&out})
	defer log.SetOutput(os.Stderr)
	w := newWorld(t, func(w *world) {
		w.log = slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
		w.config.Registration, w.config.Limits.RequestRate = configs.RegistrationInvite, 0
	})
	alice, bob := w.user("alice"), w.user("bob")
	tokens, err := broker.OpenTokens(t.Context(), w.store)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := tokens.Issue(postbox.User(alice), auth.PurposeAccess, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, dial := range []func() *wire{func() *wire { return w.dial(t) }, func() *wire { return w.overWebSocket(t) }} {
		for _, version := range []byte{3, 4, 5} {
			w.converse(t, dial, version, alice, bob, token)
			w.misbehave(t, dial, version, alice, bob, token)
		}
	}
	w.misbehaveOverHTTP(t, token)
	given := w.signInEverywhere(t)
	back := w.databaseAway()
	c := w.dial(t)
	c.login(login{user: alice, id: "away", password: secretPassword})
	w.signInWhileAway(t, given)
	back()
	await(t, "the log of the outage", func() bool { return strings.Contains(out.text(), "a connect could not be checked") })
	w.restart()

	text := out.text()
	for _, must := range []string{"connection ended", "panic", "mochi: "} {
		if !strings.Contains(text, must) {
			t.Errorf("the log has no %q: it is not the whole", must)
		}
	}
	signature := token[strings.LastIndex(token, ".")+1:]
	secrets := []string{secretBody, password, secretPassword, token[:20], signature, secretKey, "REF-pp9r", secretProperty, secretRenewed}
	for _, secret := range given {
		secrets = append(secrets, secret[len(secret)-20:])
	}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%q is in the log as %q: …%s…", secret, form, text[max(0, i-300):min(len(text), i+200)])
			}
		}
	}
}

// tee writes to standard error too.
type tee struct{ out *output }

func (t *tee) Write(p []byte) (int, error) {
	_, _ = t.out.Write(p)
	return os.Stderr.Write(p)
}

// converse does what is right, and what is refused politely.
func (w *world) converse(t *testing.T, dial func() *wire, version byte, alice, bob, token string) {
	t.Helper()
	for _, secret := range []string{secretPassword, token + "x", token[:len(token)-6]} {
		c := dial()
		c.login(login{version: version, user: alice, id: "refused", password: secret})
		c.Ended()
	}
	c := dial()
	if ack := c.login(login{version: version, user: alice, id: "phone", password: token, clean: true, will: &will{topic: "inbox/" + bob + "/" + secretKey, body: secretBody}}); ack.ReasonCode != 0 {
		t.Fatalf("with a token: CONNACK %#x", ack.ReasonCode)
	}
	var props packets.Properties
	if version == 5 {
		props = packets.Properties{ContentType: "text/" + secretProperty, CorrelationData: []byte(secretProperty), ResponseTopic: "reply/" + secretProperty}
		props.User = []packets.UserProperty{{Key: "ref", Val: secretRef}, {Key: secretProperty, Val: secretProperty}}
	}
	id := uint16(0)
	for _, topic := range []string{
		"inbox/" + bob + "/" + secretKey + string('0'+rune(version)), "inbox/nobody/" + secretKey, "room/dev/" + secretKey, "made-up/" + secretKey,
		"inbox/" + bob + "/not a " + secretKey, "api/v1/" + secretKey, "signal/" + bob + "/" + secretKey,
	} {
		for _, body := range []string{secretBody, secretBody + "other", strings.Repeat(secretBody, 2000)} {
			id++
			c.publish(publication{id: id, qos: 1, topic: topic, body: body, props: props})
			c.Expect(packets.Puback)
		}
	}
	c.publish(publication{id: id, qos: 1, dup: true, topic: "inbox/" + bob, body: secretBody, props: props})
	c.Expect(packets.Puback)
	if version == 5 {
		props.User[0].Val = "not JSON, but " + secretRef
		c.publish(publication{id: 999, qos: 1, topic: "inbox/" + bob, body: secretBody, props: props})
		c.Expect(packets.Puback)
	}
	c.subscribe("inbox/"+alice+"/since/"+secretKey, "inbox/"+secretKey, "$share/"+secretKey+"/x")
	c.Vanish() // its will is sent
}

// misbehave does what ends a connection.
func (w *world) misbehave(t *testing.T, dial func() *wire, version byte, alice, bob, token string) {
	t.Helper()
	connect := login{version: version, user: alice, id: "bad", password: token, clean: true}
	publish := publication{id: 1, qos: 1, topic: "inbox/" + bob, body: secretBody}.packet()
	publish.ProtocolVersion = version
	whole := mqtttest.Encode(t, publish)
	qos3, truncated, large := bytes.Clone(whole), bytes.Clone(whole), bytes.Clone(whole[:1])
	qos3[0] |= 0x06
	truncated[3] = 0xff // the topic ends behind the packet
	large = append(append(large, 0xff, 0xff, 0xff, 0x7f), whole[2:]...)
	wild := publish
	wild.TopicName = "inbox/+/" + secretKey
	system := publish
	system.TopicName = "$SYS/" + secretKey
	second := connect.packet()
	second.Connect.Password = []byte(secretPassword)
	subscribe := append([]byte{0x82, byte(2 + 2 + len(secretKey)), 0, 1, 0, byte(len(secretKey))}, secretKey...)
	if version == 5 {
		subscribe = append([]byte{0x82, byte(3 + 2 + len(secretKey)), 0, 1, 0, 0, byte(len(secretKey))}, secretKey...)
	}
	for name, bad := range map[string][]byte{
		"QoS 3": qos3, "truncated": truncated, "too large": large, "second CONNECT": mqtttest.Encode(t, second), "a filter without options": subscribe,
		"a wildcard": mqtttest.Encode(t, wild), "system": mqtttest.Encode(t, system), "no packet": []byte("\x00\x0f" + secretBody), "reserved": []byte("\xff\x05" + secretBody),
	} {
		c := dial()
		if ack := c.login(connect); ack.ReasonCode != 0 {
			t.Fatalf("%s: CONNACK %#x", name, ack.ReasonCode)
		}
		c.Write(bad)
		c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		c.Ended()
	}
	wrongName := connect.packet()
	wrongName.Connect.ProtocolName = []byte("MQTX")
	noPassword := connect.packet()
	noPassword.Connect.ClientIdentifier = strings.Repeat(secretProperty, 20)
	refused := connect
	refused.will = &will{topic: "room/dev/" + secretKey, body: secretBody}
	cut := mqtttest.Encode(t, connect.packet())
	cut = append([]byte{0x10, byte(len(cut) - 10)}, cut[len(cut)-(len(cut)-2):len(cut)-8]...)
	for name, bad := range map[string][]byte{
		"another protocol": mqtttest.Encode(t, wrongName), "a long id": mqtttest.Encode(t, noPassword), "a bad will": mqtttest.Encode(t, refused.packet()),
		"a cut CONNECT": cut, "no CONNECT": whole, "HTTP": []byte("GET /" + secretKey + " HTTP/1.1\r\nAuthorization: Bearer " + token + "\r\n\r\n"),
	} {
		c := dial()
		c.Version = version
		c.Write(bad)
		if name == "a cut CONNECT" {
			c.Vanish()
			continue
		}
		c.Ended()
	}
}

func (w *world) misbehaveOverHTTP(t *testing.T, token string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, at := range []string{w.at.HTTP, w.at.Private} {
		for _, path := range []string{"/mqtt?token=" + token, "/" + secretKey, "/v1/send", "/readyz?token=" + token} {
			r, err := http.NewRequest(http.MethodPost, "http://"+at+path, strings.NewReader(secretBody))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Origin", "https://"+secretKey+".example")
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
		}
		raw := mqtttest.Dial(t, at)
		raw.Write([]byte("GET /" + secretKey + "\x00 HTTP/1.1\r\nCookie " + token + "\r\n\r\n"))
		raw.Vanish()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt?token="+token, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if err := c.Write(ctx, websocket.MessageText, []byte(secretBody)); err != nil {
		t.Fatal(err)
	}
	_, _, _ = c.Read(ctx)
}

// signInEverywhere does all that hands out what lets somebody in, right and wrong, and
// returns what was handed out.
func (w *world) signInEverywhere(t *testing.T) (given []string) {
	t.Helper()
	h := w.overHTTP(t)
	root := w.admin("root")
	keep := func(reply map[string]any, names ...string) {
		t.Helper()
		for _, name := range names {
			secret, is := reply[name].(string)
			if !is {
				t.Fatalf("no %s in %v", name, reply)
			}
			given = append(given, secret)
		}
	}
	invite := h.must(root, "invite.add", `{}`)
	keep(invite, "code")
	for _, request := range []string{
		`{"user":"dave","password":"` + secretRenewed + `","invite":"` + secretKey + `"}`, `{"user":"dave","password":"` + secretRenewed + `"`,
		`{"user":"dave","password":"` + secretRenewed + `","` + secretPassword + `":1}`, `{"user":"dave","password":["` + secretRenewed + `"]}`,
		`{"password":"` + secretRenewed + `","password":"` + secretPassword + `"}`,
	} {
		h.askAs("", "register", request)
		h.askAs("", "login", request)
		h.askAs("", "refresh", `{"refresh_token":"`+secretKey+`","x":`+request)
	}
	made := h.mustAs("", "register", jsonOf(map[string]any{"user": "dave", "password": secretRenewed, "invite": invite["code"]}))
	keep(made, "access_token", "refresh_token")
	next := h.mustAs("", "refresh", jsonOf(map[string]any{"refresh_token": made["refresh_token"]}))
	keep(next, "access_token", "refresh_token")
	stream := h.mustAs(bearer(next["access_token"]), "stream_token", `{}`)
	keep(stream, "token")
	for _, query := range []string{"", "&x=" + secretKey, "&token=" + secretKey} {
		answer, err := http.Get(h.url + "/v1/stream?token=" + stream["token"].(string) + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	c := w.connect(t, login{version: 5, password: next["access_token"].(string), id: "phone", clean: true})
	keep(c.call("dave", "refresh", jsonOf(map[string]any{"refresh_token": next["refresh_token"]})), "access_token", "refresh_token")
	c.call("dave", "password", `{"old":"`+secretPassword+`","new":"`+secretRenewed+`"}`)
	keep(c.call("dave", "password", `{"old":"`+secretRenewed+`","new":"`+secretRenewed+`2"}`), "access_token", "refresh_token")
	h.askAs("", "refresh", jsonOf(map[string]any{"refresh_token": made["refresh_token"]})) // of a login that has ended
	h.must(root, "user.password", `{"user":"dave","password":"`+secretRenewed+`"}`)
	// A hash that cannot be read, and one of PHP's that is renewed.
	w.exec(`UPDATE postbox.users SET password_hash = $1 WHERE name = 'dave'`, "$argon2id$"+secretKey)
	h.askAs("", "login", `{"user":"dave","password":"`+secretRenewed+`"}`)
	return given
}

// signInWhileAway asks for what cannot be checked then: nobody is told that a password
// or a token is wrong.
func (w *world) signInWhileAway(t *testing.T, given []string) {
	t.Helper()
	post := func(operation, request string) {
		t.Helper()
		answer, err := http.Post("http://"+w.at.HTTP+"/v1/"+operation, "application/json", strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s while the database is away: %d, Retry-After %q", operation, answer.StatusCode, answer.Header.Get("Retry-After"))
		}
	}
	post("login", `{"user":"dave","password":"`+secretRenewed+`"}`)
	post("register", `{"user":"erin","password":"`+secretRenewed+`","invite":"`+given[0]+`"}`)
	post("refresh", jsonOf(map[string]any{"refresh_token": given[len(given)-1]}))
}
