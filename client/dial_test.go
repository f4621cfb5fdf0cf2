package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
	"postbox/client"
)

func TestDialSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	for code, want := range map[byte]error{
		packets.ErrRefusedBadProtocolVersion:    postbox.ErrInvalid,
		packets.ErrRefusedIDRejected:            postbox.ErrInvalid,
		packets.ErrRefusedServerUnavailable:     postbox.ErrUnavailable,
		packets.ErrRefusedBadUsernameOrPassword: postbox.ErrUnauthenticated,
		packets.ErrRefusedNotAuthorised:         postbox.ErrUnauthenticated,
	} {
		f := newFake(t)
		f.connack = func(*packets.ConnectPacket) byte { return code }
		if c, err := client.Dial(bounded(t), options(f.url)); !errors.Is(err, want) {
			t.Errorf("Dial with CONNACK %d = %v, %v, want %v", code, c, err, want)
		}
	}
	if _, err := client.Dial(bounded(t), options("tcp://127.0.0.1:1")); err == nil {
		t.Error("Dial to a port that nobody listens on succeeded")
	}
}

func TestALoginRefusedLaterEndsTheClient(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	// First the server is away for a few attempts, which is no reason to give up.
	attempts := 0
	f.do(func() {
		f.connack = func(*packets.ConnectPacket) byte {
			if attempts++; attempts < 4 {
				return packets.ErrRefusedServerUnavailable
			}
			return packets.ErrRefusedBadUsernameOrPassword
		}
		f.fault = func(*packets.PublishPacket) fault { return fault{cutBefore: true} }
	})
	if _, err := c.Send(bounded(t), "bob", []byte("hello")); !errors.Is(err, postbox.ErrUnauthenticated) {
		t.Errorf("Send = %v, want ErrUnauthenticated", err)
	}
	if _, err := c.Receive(bounded(t)); !errors.Is(err, postbox.ErrUnauthenticated) {
		t.Errorf("Receive = %v, want ErrUnauthenticated", err)
	}
	f.do(func() {
		if attempts != 4 {
			t.Errorf("%d attempts, want 4: none after the refusal", attempts)
		}
	})
}

func TestDialHonoursItsContext(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	asked, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	f.connack = func(*packets.ConnectPacket) byte {
		close(asked)
		f.mu.Unlock() // the server hangs, the test goes on
		<-release
		f.mu.Lock()
		return packets.Accepted
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	start := time.Now()
	if _, err := client.Dial(ctx, options(f.url)); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial = %v, want ctx's error", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Dial took %s to notice that ctx has ended", d)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	hold := make(chan struct{})
	f.fault = func(*packets.PublishPacket) fault { close(hold); return fault{cutBefore: true} }
	f.connack = func(*packets.ConnectPacket) byte {
		select {
		case <-hold:
			return packets.ErrRefusedServerUnavailable
		default:
			return packets.Accepted
		}
	}
	o := options(f.url)
	o.InFlight = 1
	c := dial(t, o)
	results := make(chan error, 3)
	for range 2 { // one is on its way, one waits for its place
		go func() { _, err := c.Send(context.Background(), "bob", nil); results <- err }()
	}
	go func() { _, err := c.Receive(context.Background()); results <- err }()
	<-hold
	closeNow(t, c)
	for range 3 {
		if err := <-results; !errors.Is(err, client.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}
	closeNow(t, c)
	if _, err := c.Send(bounded(t), "bob", nil); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Send after Close = %v, want ErrClosed", err)
	}
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	mqtts, wss, trust := f.secure("mqtt")
	for _, url := range []string{mqtts, wss} {
		o := options(url)
		if _, err := client.Dial(bounded(t), o); err == nil {
			t.Errorf("%s: a certificate that nobody vouches for is trusted", url)
		}
		o.TLS = trust
		c := dial(t, o)
		if _, err := c.Send(bounded(t), "bob", []byte(url)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if got := receiveBodies(t, c, 1); got[0] != url {
			t.Errorf("%s: received %q", url, got)
		}
		closeNow(t, c)
	}
	if trust.ServerName != "" {
		t.Error("Dial has changed the program's tls.Config")
	}
}

func TestAWebSocketThatIsNotMQTTIsRefused(t *testing.T) {
	t.Parallel()
	_, wss, trust := newFake(t).secure("chat")
	o := options(wss)
	o.TLS = trust
	if _, err := client.Dial(bounded(t), o); err == nil || !strings.Contains(err.Error(), "subprotocol mqtt") {
		t.Errorf("Dial = %v, want that it does not speak MQTT", err)
	}
}

// What is sent elsewhere goes nowhere: neither a password or a token of a login, nor a
// connection over which one would go.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	want := `sends elsewhere, to "` + other.URL + `" (status 307)`
	if _, err := client.Dial(bounded(t), options("ws"+strings.TrimPrefix(server.URL, "http"))); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Dial = %v, want that it %s", err, want)
	}
	theirs := &http.Client{}
	for name, o := range map[string]client.LoginOptions{
		"a password":             {User: "alice", Password: "secret"},
		"a refresh token":        {RefreshToken: "token"},
		"the program's requests": {User: "alice", Password: "secret", HTTP: theirs},
	} {
		o.URL = server.URL
		if _, err := newLogin(t, o).Token(bounded(t), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Token = %v, want that it %s", name, err, want)
		}
	}
	if n := followed.Load(); n > 0 || theirs.CheckRedirect != nil {
		t.Errorf("followed %d times; the program's http.Client was changed: %v", n, theirs.CheckRedirect != nil)
	}
}

func TestDialChecksItsOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*client.Options){
		"no URL":              func(o *client.Options) { o.URL = "" },
		"no scheme":           func(o *client.Options) { o.URL = "127.0.0.1:1883" },
		"another scheme":      func(o *client.Options) { o.URL = "http://127.0.0.1" },
		"no host":             func(o *client.Options) { o.URL = "tcp://:1883" },
		"a password in it":    func(o *client.Options) { o.URL = "tcp://alice:hunter2@127.0.0.1" },
		"what is no URL":      func(o *client.Options) { o.URL = "tcp://alice:hunter2@127.0.0.1:%zz" },
		"no user":             func(o *client.Options) { o.User = "" },
		"user with a capital": func(o *client.Options) { o.User = "Alice" },
		"no password":         func(o *client.Options) { o.Password = "" },
		"a cursor of nothing": func(o *client.Options) { o.SendOnly, o.Cursor = true, client.CursorFile("cursor") },
		"no device":           func(o *client.Options) { o.Device = "" },
	} {
		o := options("tcp://127.0.0.1:1")
		change(&o)
		if _, err := client.Dial(bounded(t), o); !errors.Is(err, postbox.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want ErrInvalid without the password", name, err)
		}
	}
}

// A server that stops reading, without closing, must not stop the client.
func TestAServerThatStopsReadingIsLeft(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	stuck, release := false, make(chan struct{})
	t.Cleanup(func() { close(release) })
	f.fault = func(*packets.PublishPacket) fault {
		if !stuck {
			stuck = true
			f.mu.Unlock()
			<-release
			f.mu.Lock()
			return fault{cutBefore: true}
		}
		return fault{}
	}
	o := options(f.url)
	o.SendOnly, o.ConnectTimeout = true, 2*time.Second
	c := dial(t, o)
	const sends = 100 // of 64 KiB: more than the system buffers for a connection
	var wg sync.WaitGroup
	for range sends {
		wg.Go(func() {
			if _, err := c.Send(bounded(t), "bob", bytes.Repeat([]byte("x"), 64<<10)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.do(func() {
		if n := len(f.inboxes["bob"]); n != sends || f.connects < 2 {
			t.Errorf("%d of %d messages stored over %d connections", n, sends, f.connects)
		}
	})
}
