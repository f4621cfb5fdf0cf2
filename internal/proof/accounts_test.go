package proof

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// apiReply asks an operation over HTTP; empty credentials: nobody asks.
func apiReply(s *Server, authorization, operation, request string) (status int, reply map[string]any, err error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+s.HTTP+"/v1/"+operation, strings.NewReader(request))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := (&http.Client{Timeout: 70 * time.Second}).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	return answer.StatusCode, reply, json.NewDecoder(answer.Body).Decode(&reply)
}

// possessions are all that a user has open, and when each of it ended.
type possessions struct {
	t     *testing.T
	names []string
	ends  map[string]chan time.Time
}

func (w *possessions) watch(name string, wait func()) {
	end := make(chan time.Time, 1)
	w.names, w.ends[name] = append(w.names, name), end
	go func() {
		wait()
		end <- time.Now()
	}()
}

// openAll opens connections of each version and kind, by an unmodified library too,
// streams, and a request that waits: by password and by token.
func openAll(t *testing.T, s *Server, user, password string) *possessions {
	t.Helper()
	w := &possessions{t: t, ends: make(map[string]chan time.Time)}
	status, reply, err := apiReply(s, "", "login", fmt.Sprintf(`{"user":%q,"password":%q,"device":"phone"}`, user, password))
	if err != nil || status != http.StatusOK {
		t.Fatalf("login: %d %v %v", status, reply, err)
	}
	bearer := fmt.Sprint("Bearer ", reply["access_token"])
	for _, c := range []RawConnect{
		{Version: 4, Password: password}, {Version: 5, Password: password}, {Version: 5, Password: password, WebSocket: true},
		{Version: 4, Password: fmt.Sprint(reply["access_token"]), WebSocket: true}, {Version: 5, Password: fmt.Sprint(reply["access_token"])},
	} {
		at := s.MQTT
		if c.WebSocket {
			at = s.HTTP
		}
		c.User, c.ID, c.Clean = user, fmt.Sprint("raw", len(w.names)), true
		r, code, _ := DialRaw(t, at, c)
		if code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		w.watch(fmt.Sprintf("connection %s, MQTT %d", c.ID, c.Version), func() {
			if _, reason := r.WaitEnd(patience); c.Version == 5 && reason != 0x98 {
				t.Errorf("a connection ended with %#x, want 0x98", reason)
			}
		})
	}
	lost := make(chan struct{})
	paho := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.MQTT).SetClientID("paho").SetUsername(user).SetPassword(fmt.Sprint(reply["access_token"])).
		SetAutoReconnect(false).SetConnectionLostHandler(func(mqtt.Client, error) { close(lost) }))
	if token := paho.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("paho: %v", token.Error())
	}
	w.watch("paho, by token", func() { <-lost })
	streamToken := func() string {
		_, reply, err := apiReply(s, bearer, "stream_token", `{}`)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(reply["token"])
	}
	for name, path := range map[string]string{"stream": "/v1/stream", "stream by its token": "/v1/stream?token=" + streamToken()} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if name == "stream" {
			r.SetBasicAuth(user, password)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v %v", name, answer, err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		in := bufio.NewReader(answer.Body)
		if _, err := in.ReadString('\n'); err != nil { // it has begun
			t.Fatal(err)
		}
		w.watch(name, func() { _, _ = io.Copy(io.Discard, in) })
	}
	w.watch("request that waits", func() {
		if status, reply, err := apiReply(s, bearer, "sync", `{"after":0,"wait":60}`); err != nil || status != http.StatusUnauthorized {
			t.Errorf("the request that waited: %d %v %v", status, reply, err)
		}
	})
	return w
}

// mustEnd waits until all has ended, within a second of the command's end.
func (w *possessions) mustEnd(ended time.Time) {
	w.t.Helper()
	late := time.After(patience)
	for _, name := range w.names {
		select {
		case at := <-w.ends[name]:
			if took := at.Sub(ended); took > time.Second {
				w.t.Errorf("%s ended %v after the command", name, took)
			}
		case <-late:
			w.t.Fatalf("%s does not end", name)
		}
	}
}

func TestAccountsByCommandLine(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{Env: []string{"POSTBOX_LIMITS_STREAMS_PER_USER=20", "POSTBOX_REGISTRATION=invite"}})
	t.Run("at once", func(t *testing.T) { commandLineAtOnce(t, s) })
	t.Run("from elsewhere", func(t *testing.T) { accountsFromElsewhere(t, s) })
}

// What the command line, another process, does to an account is in force within a
// second on all that the user has open.
func commandLineAtOnce(t *testing.T, s *Server) {
	t.Helper()
	s.AddUser("bob", "bob's secret")
	bob, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: "phone", User: "bob", Password: "bob's secret", Clean: true})
	if code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	for name, command := range map[string]func(user string) (string, []string){
		"disable": func(user string) (string, []string) { return "", []string{"user", "disable", user} },
		"password": func(user string) (string, []string) {
			return "a new secret\n", []string{"user", "password", user, "--password-stdin"}
		},
		"revoke": func(user string) (string, []string) { return "", []string{"user", "revoke", user} },
	} {
		user := "alice-" + name
		s.AddUser(user, "alice's secret")
		open := openAll(t, s, user, "alice's secret")
		stdin, args := command(user)
		if out := s.Command(stdin, args...); out.Code != 0 {
			t.Fatalf("%v: %+v", args, out)
		}
		open.mustEnd(time.Now())
	}
	if !bob.Alive() {
		t.Error("another user's connection has ended, too")
	}
	// One device alone, with the login that is called like it.
	s.AddUser("carol", "carol's secret")
	_, reply, err := apiReply(s, "", "login", `{"user":"carol","password":"carol's secret","device":"phone"}`)
	if err != nil {
		t.Fatal(err)
	}
	token := fmt.Sprint(reply["access_token"])
	dial := func(id, password string) *Raw {
		t.Helper()
		r, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: id, User: "carol", Password: password, Expiry: 3600})
		if code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		return r
	}
	phone, tablet, laptop := dial("phone", "carol's secret"), dial("tablet", token), dial("laptop", "carol's secret")
	if out := s.Command("", "user", "revoke", "carol", "--device", "phone"); out.Code != 0 {
		t.Fatalf("%+v", out)
	}
	for name, r := range map[string]*Raw{"the device": phone, "another one, with the login of that name": tablet} {
		if took, reason := r.WaitEnd(patience); took > time.Second || reason != 0x98 {
			t.Errorf("%s ended after %v with %#x", name, took, reason)
		}
	}
	if !laptop.Alive() {
		t.Error("another device has ended, too")
	}
	if out := s.Command("", "user", "revoke", "carol", "--device", "no such"); out.Code != 1 {
		t.Errorf("an unknown device is revoked: %+v", out)
	}
}

// Invitations and administrators are made by the command line; a password comes along
// from PHP, as its hash.
func accountsFromElsewhere(t *testing.T, s *Server) {
	t.Helper()
	code := strings.TrimSpace(s.Command("", "user", "invite", "add", "--note", "for dave").Stdout)
	if list := s.Command("", "user", "invite", "list").Stdout; !strings.Contains(list, "for dave") || strings.Contains(list, code) {
		t.Errorf("user invite list: %s", list)
	}
	status, reply, err := apiReply(s, "", "register", fmt.Sprintf(`{"user":"dave","password":"dave's secret","invite":%q}`, code))
	if err != nil || status != http.StatusCreated {
		t.Errorf("register: %d %v %v", status, reply, err)
	}
	if status, _, _ := apiReply(s, "", "register", fmt.Sprintf(`{"user":"erin","password":"erin's secret","invite":%q}`, code)); status != http.StatusForbidden {
		t.Errorf("register again: %d", status)
	}
	dave := fmt.Sprint("Bearer ", reply["access_token"])
	if status, _, _ := apiReply(s, dave, "users", `{}`); status != http.StatusForbidden {
		t.Errorf("users: %d", status)
	}
	if out := s.Command("", "user", "admin", "dave"); out.Code != 0 {
		t.Fatalf("%+v", out)
	}
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if status, _, _ := apiReply(s, dave, "users", `{}`); status == http.StatusOK {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("dave does not become an administrator")
		}
	}

	// Of PHP 8.2.36: password_hash("päss wörd", $algorithm, $options).
	db := s.DB()
	defer db.Close()
	for name, hash := range map[string]string{
		"bcrypt10": "$2y$10$yDmJaO6XIno.tG2bV1SHHe7DKzri769cEn5EAVOsdAD8hQj1lD4F.",
		"bcrypt12": "$2y$12$VRtid/k5uw4SEcx4p8bICOK06JjfiB95hLVf7BKZvZPjs6s/7yjYy",
		"argon2id": "$argon2id$v=19$m=65536,t=4,p=1$YmlJbzlaQ1ZOZmVkelpFUg$gfMUwfn0r8a8f/fYSzkn0jOEiTP2ClA7UjSz23ZtHfo",
		"argon2i":  "$argon2i$v=19$m=65536,t=4,p=1$cTYzbjNxVnIvUGFXVDI1dA$Vo1bQ6tai7LfrYxV9idm3X61aTfBmBr8M9TYQ6/yWcI",
	} {
		if out := s.Command(hash+"\n", "user", "add", name, "--password-hash-stdin"); out.Code != 0 {
			t.Fatalf("%s: %+v", name, out)
		}
		for _, version := range []byte{4, 5} { // by the hash of PHP, then by ours
			o := RawConnect{Version: version, ID: "d", User: name, Password: "päss wörd", Clean: true}
			_, code, _ := DialRaw(t, s.MQTT, o)
			for limit := time.Now().Add(patience); (code == 3 || code == 0x88) && time.Now().Before(limit); {
				_, code, _ = DialRaw(t, s.MQTT, o) // a hash of PHP takes long where the race detector looks on
			}
			if code != 0 {
				t.Errorf("%s: CONNACK %#x", name, code)
			}
			if _, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: "d", User: name, Password: "pass word", Clean: true}); code != 0x86 {
				t.Errorf("%s, with a wrong password: CONNACK %#x", name, code)
			}
		}
		var renewed string
		if err := db.QueryRow(`SELECT password_hash FROM postbox.users WHERE name = $1`, name).Scan(&renewed); err != nil || !strings.HasPrefix(renewed, "$argon2id$v=19$m=") {
			t.Errorf("%s is now kept as %.30s…, %v", name, renewed, err)
		}
	}
	for stdin, args := range map[string][]string{
		"$1$abc$def\n": {"--password-hash-stdin"}, "\n": {"--password-hash-stdin"}, "seven77\n": {"--password-stdin"},
		"both of them\n": {"--password-stdin", "--password-hash-stdin"},
	} {
		if out := s.Command(stdin, append([]string{"user", "add", "frank"}, args...)...); out.Code == 0 || strings.Contains(out.Stderr, strings.TrimSpace(stdin)) && len(stdin) > 1 {
			t.Errorf("user add %v with %q: %+v", args, stdin, out)
		}
	}
}
