package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
	"postbox/client"
)

func newLogin(t testing.TB, o client.LoginOptions) *client.Login {
	t.Helper()
	l, err := client.NewLogin(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A program signs in with a password once, and then goes on with what Keep was
// told, over restarts; its client connects with the tokens.
func TestALoginRenewsItself(t *testing.T) {
	t.Parallel()
	w := newInside(t)
	now := time.Now()
	var kept []string
	o := client.LoginOptions{
		URL: "http://" + w.inside.Addresses().HTTP, User: "alice", Password: w.password, Device: "laptop",
		Keep: func(token string) error { kept = append(kept, token); return nil },
		Now:  func() time.Time { return now },
	}
	login := newLogin(t, o)
	first := must(login.Token(bounded(t), ""))(t)
	if again := must(login.Token(bounded(t), ""))(t); again != first || len(kept) != 1 {
		t.Errorf("a token that counts is renewed: %d refresh tokens", len(kept))
	}
	dialed := w.as("alice")
	dialed.Password, dialed.Credentials = "", login.Token
	alice := dial(t, dialed)
	must(alice.Send(bounded(t), "bob", []byte("hello")))(t)
	var logins struct {
		Logins []struct {
			Device  string `json:"device"`
			Current bool   `json:"current"`
		} `json:"logins"`
	}
	if err := alice.Call(bounded(t), "logins", nil, &logins); err != nil || len(logins.Logins) != 1 || !logins.Logins[0].Current || logins.Logins[0].Device != "laptop" {
		t.Errorf("the logins are %+v, %v, want that of the connection", logins, err)
	}
	closeNow(t, alice) // with the login ended, below, it would sign in anew beside the others

	now = now.Add(11 * time.Hour) // of 12
	second := must(login.Token(bounded(t), ""))(t)
	third := must(login.Token(bounded(t), second))(t)
	if second == first || third == second || len(kept) != 3 {
		t.Errorf("not renewed: when it is nearly over, and when it was refused; %d refresh tokens", len(kept))
	}
	o.RefreshToken, o.Password = kept[2], ""
	later := newLogin(t, o)
	must(later.Token(bounded(t), ""))(t)
	if len(kept) != 4 {
		t.Errorf("the program did not go on with its refresh token")
	}
	unkept := o
	unkept.RefreshToken, unkept.Keep = kept[3], func(string) error { return errors.New("the disk is full") }
	if token, err := newLogin(t, unkept).Token(bounded(t), ""); err == nil || token != "" {
		t.Errorf("a refresh token that cannot be kept: %q, %v", token, err)
	}

	// A refresh token that was used before ends the login: nothing but a password
	// helps then.
	o.RefreshToken = kept[0]
	if _, err := newLogin(t, o).Token(bounded(t), ""); !errors.Is(err, postbox.ErrUnauthenticated) {
		t.Errorf("with an old refresh token: %v, want ErrUnauthenticated", err)
	}
	o.Password = w.password
	must(newLogin(t, o).Token(bounded(t), ""))(t)
}

func TestALoginThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]client.LoginOptions{
		"no URL":              {User: "alice", Password: "secret"},
		"a URL of MQTT":       {URL: "tcp://127.0.0.1:1883", User: "alice", Password: "secret"},
		"nothing to go in by": {URL: "http://127.0.0.1:8080", User: "alice"},
	} {
		if _, err := client.NewLogin(o); !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	hang := make(chan struct{})
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang/v1/login" {
			<-hang
		}
		fmt.Fprintln(rw, "<html>")
	}))
	t.Cleanup(other.Close)
	t.Cleanup(func() { close(hang) })
	if _, err := newLogin(t, client.LoginOptions{URL: other.URL, User: "alice", Password: "secret"}).Token(bounded(t), ""); err == nil {
		t.Error("what is no Postbox gave a token")
	}
	// Who waits behind another who waits has a ctx of its own.
	login := newLogin(t, client.LoginOptions{URL: other.URL + "/hang", User: "alice", Password: "secret"})
	long, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := login.Token(long, ""); done <- err }()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := login.Token(short, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Token = %v, want ctx's error", err)
	}
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Token = %v, want ctx's error", err)
	}
}

// Who does not wait for a refresh any more has spent the refresh token all the same: what
// comes in its place is kept.
func TestARefreshThatIsNotWaitedForIsKept(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		fmt.Fprintln(rw, `{"access_token":"access","expires_in":3600,"refresh_token":"second"}`)
	}))
	t.Cleanup(server.Close)
	kept := make(chan string, 1)
	login := newLogin(t, client.LoginOptions{
		URL: server.URL, RefreshToken: "first",
		Keep: func(token string) error { kept <- token; return nil },
	})
	ctx, end := context.WithCancel(t.Context())
	go func() { <-asked; end() }()
	if _, err := login.Token(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Token = %v, want ctx's error", err)
	}
	close(answer)
	if token, err := login.Token(bounded(t), ""); token != "access" || err != nil {
		t.Errorf("the next Token = %q, %v", token, err)
	}
	select {
	case token := <-kept:
		if token != "second" {
			t.Errorf("kept is %q", token)
		}
	case <-bounded(t).Done():
		t.Error("nothing was kept")
	}
}

// A token that has ended is told to Credentials, which gives another one: at the
// first connection and at each later one.
func TestCredentialsAreAskedForEachConnection(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	good := "token 2"
	f.connack = func(p *packets.ConnectPacket) byte {
		if string(p.Password) != good {
			return packets.ErrRefusedBadUsernameOrPassword
		}
		return packets.Accepted
	}
	var refusals []string
	n := 0
	o := options(f.url)
	o.Password = ""
	o.Credentials = func(_ context.Context, refused string) (token string, _ error) {
		f.do(func() { // what a cut brings about is not ordered after what the test read before it
			refusals = append(refusals, refused)
			n++
			token = fmt.Sprint("token ", n)
		})
		return token, nil
	}
	c := dial(t, o)
	f.do(func() { good = "token 4" })
	f.cut()
	if _, err := c.Send(bounded(t), "bob", []byte("hello")); err != nil {
		t.Error(err)
	}
	f.do(func() {
		if want := []string{"", "token 1", "", "token 3"}; !slices.Equal(refusals, want) {
			t.Errorf("told of %q, want %q", refusals, want)
		}
		good = "none"
	})
	f.cut()
	if _, err := c.Receive(bounded(t)); err == nil {
		_, err = c.Send(bounded(t), "bob", []byte("hello"))
		if !errors.Is(err, postbox.ErrUnauthenticated) {
			t.Errorf("after two refusals in a row: %v, want ErrUnauthenticated", err)
		}
	}
	o.Credentials = func(context.Context, string) (string, error) { return "", postbox.ErrUnavailable }
	if _, err := client.Dial(bounded(t), o); !errors.Is(err, postbox.ErrUnavailable) {
		t.Errorf("Dial = %v, want the error of Credentials", err)
	}
}
