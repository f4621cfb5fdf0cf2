package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
	"postbox/client"
)

// patience bounds what a test waits for that must happen.
const patience = 20 * time.Second

func options(url string) client.Options {
	return client.Options{URL: url, User: "alice", Password: "secret", Device: "phone",
		ReconnectMin: time.Millisecond, ReconnectMax: 20 * time.Millisecond}
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, c) })
	return c
}

func closeNow(t testing.TB, c *client.Client) {
	t.Helper()
	if err := c.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

func receive(t testing.TB, c *client.Client) client.Delivery {
	t.Helper()
	d, err := c.Receive(bounded(t))
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return d
}

// receiveBodies receives and acknowledges n entries and returns their bodies.
func receiveBodies(t testing.TB, c *client.Client, n int) []string {
	t.Helper()
	var bodies []string
	for range n {
		d := receive(t, c)
		bodies = append(bodies, string(d.Body))
		d.Ack()
	}
	return bodies
}

// eventually waits until the fake's state is as it must be.
func (f *fake) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		good := ok()
		f.mu.Unlock()
		if good {
			return
		}
	}
	f.t.Fatalf("never happened: %s", what)
}

// once returns a fault that strikes each body the first time only.
func once(bad fault) func(*packets.PublishPacket) fault {
	struck := make(map[string]bool)
	return func(p *packets.PublishPacket) fault {
		if struck[string(p.Payload)] {
			return fault{}
		}
		struck[string(p.Payload)] = true
		return bad
	}
}

func TestSendSurvivesCuts(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]fault{
		"before the commit":             {cutBefore: true},
		"between commit and its answer": {cutAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.fault = once(bad)
			o := options(f.url)
			o.SendOnly = true
			c := dial(t, o)
			const sends = 10
			var wg sync.WaitGroup
			for i := range sends {
				wg.Go(func() {
					body := fmt.Sprint("message ", i)
					r, err := c.Send(bounded(t), "bob", []byte(body), client.WithKey(fmt.Sprint("k-", i)))
					if err != nil || r.InboxSeq == 0 || r.Seq == 0 || r.ID == (postbox.MessageID{}) || r.Key != fmt.Sprint("k-", i) {
						t.Errorf("Send = %+v, %v", r, err)
					}
				})
			}
			wg.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if n := len(f.inboxes["bob"]); n != sends {
				t.Errorf("%d messages stored for %d sends", n, sends)
			}
			if f.connects <= sends {
				t.Errorf("%d connections for %d cuts", f.connects, sends)
			}
		})
	}
}

// The copy of a stored message may come behind its re-send, which is a
// duplicate to the server.
func TestAResendOfWhatIsStoredIsConfirmedByTheFirst(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.hold = true
	f.fault = func(p *packets.PublishPacket) fault {
		if f.seen["k-1"] == 1 {
			return fault{cutAfter: true}
		}
		f.hold = false
		return fault{}
	}
	c := dial(t, options(f.url))
	r, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey("k-1"))
	if err != nil || r.InboxSeq != 1 {
		t.Errorf("Send = %+v, %v", r, err)
	}
	f.do(func() {
		if f.seen["k-1"] != 2 || len(f.inboxes["bob"]) != 1 {
			t.Errorf("sent %d times and stored %d times, want 2 and 1", f.seen["k-1"], len(f.inboxes["bob"]))
		}
	})
}

func TestSendsAreStoredInOrderAcrossCuts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = once(fault{cutAfter: true})
	o := options(f.url)
	o.SendOnly = true
	c := dial(t, o)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprint(i))
		if _, err := c.Send(bounded(t), "bob", []byte(want[i])); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []string
	for _, m := range f.inboxes["bob"] {
		got = append(got, string(m.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
}

func TestSendReturnsTheServersRefusal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = func(p *packets.PublishPacket) fault {
		if strings.HasPrefix(p.TopicName, "inbox/carol/") {
			return fault{refuse: postbox.Errorf(postbox.CodeForbidden, "carol does not accept messages from you")}
		}
		return fault{}
	}
	c := dial(t, options(f.url))
	r, err := c.Send(bounded(t), "carol", []byte("hello"), client.WithKey("k-7"))
	if !errors.Is(err, postbox.ErrForbidden) || !strings.Contains(err.Error(), "carol does not accept") || r.Key != "k-7" {
		t.Errorf("Send = %+v, %v, want ErrForbidden with the server's sentence", r, err)
	}
	// The refusal itself is no entry, and the client goes on.
	if _, err := c.Send(bounded(t), "bob", []byte("hello")); err != nil {
		t.Errorf("the next Send: %v", err)
	}
	if got := receiveBodies(t, c, 1); got[0] != "hello" {
		t.Errorf("received %q, want the own copy", got)
	}
}

// A PUBACK says nothing in 3.1.1: without the own copy, a send is not known to
// be stored, whatever Paho's token says.
func TestSendDoesNotTrustAPuback(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	acknowledged := make(chan struct{}, 1)
	f.fault = func(*packets.PublishPacket) fault {
		acknowledged <- struct{}{}
		for _, s := range f.sessions { // the copy is kept back
			s.subscribed = false
		}
		return fault{}
	}
	c := dial(t, options(f.url))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-acknowledged
		time.AfterFunc(50*time.Millisecond, cancel) // long after the PUBACK
	}()
	r, err := c.Send(ctx, "bob", []byte("hello"))
	if !errors.Is(err, context.Canceled) || r.ID != (postbox.MessageID{}) || r.Key == "" {
		t.Fatalf("Send = %+v, %v, want the key and ctx's error", r, err)
	}
	// The program tries again under the same key, once the copy has come.
	f.do(func() {
		f.fault = nil
		for _, s := range f.sessions {
			s.subscribed = true
		}
		for _, p := range f.conns {
			f.deliver(p)
		}
	})
	receive(t, c).Ack()
	again, err := c.Send(bounded(t), "bob", []byte("hello"), client.WithKey(r.Key))
	if err != nil || again.InboxSeq != 1 {
		t.Errorf("Send under the same key = %+v, %v, want the first one's place", again, err)
	}
	f.do(func() {
		if n := len(f.inboxes["bob"]); n != 1 {
			t.Errorf("stored %d times", n)
		}
	})
}

// Another device's message under the same key is not ours.
func TestACopyOfAnotherMessageConfirmsNothing(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fault = func(p *packets.PublishPacket) fault {
		f.store(&postbox.Message{From: "alice", To: "bob", Key: "k-1", Device: "laptop", Body: []byte("another")})
		for _, p := range f.conns {
			f.deliver(p)
		}
		return fault{refuse: postbox.Errorf(postbox.CodeConflict, "the idempotency key k-1 was used before")}
	}
	c := dial(t, options(f.url))
	if r, err := c.Send(bounded(t), "bob", []byte("mine"), client.WithKey("k-1")); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("Send = %+v, %v, want ErrConflict", r, err)
	}
}

func TestAcknowledgementsGoOutInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	var got []client.Delivery
	for i := range 5 {
		f.from("bob", "alice", fmt.Sprint(i))
		got = append(got, receive(t, c))
	}
	for _, i := range []int{4, 1, 2} {
		got[i].Ack()
	}
	// Nothing may have gone out: the first is missing. A send is answered
	// behind anything that had.
	if _, err := c.Send(bounded(t), "bob", []byte("barrier")); err != nil {
		t.Fatal(err)
	}
	f.do(func() {
		if len(f.acks["phone"]) != 0 {
			t.Errorf("acknowledged %d before the first entry was", f.acks["phone"])
		}
	})
	got[0].Ack()
	f.eventually("1, 2, 3 acknowledged", func() bool { return len(f.acks["phone"]) >= 3 })
	got[3].Ack()
	got[3].Ack() // twice is once
	f.eventually("all acknowledged", func() bool { return len(f.acks["phone"]) >= 5 })
	f.do(func() {
		if want := []uint16{1, 2, 3, 4, 5}; !slices.Equal(f.acks["phone"], want) {
			t.Errorf("acknowledged %d, want %d", f.acks["phone"], want)
		}
	})
}

// What the program has once is not given to it again after a cut, and its
// acknowledgement from before the cut still counts.
func TestEachEntryArrivesOnceAcrossCuts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	var got []client.Delivery
	for i := range 6 {
		f.from("bob", "alice", fmt.Sprint(i))
		got = append(got, receive(t, c))
	}
	got[0].Ack()
	f.eventually("the first acknowledged", func() bool { return len(f.acks["phone"]) == 1 })
	got[2].Ack() // waits for the second
	f.cut()
	got[1].Ack() // while disconnected, or right after
	f.from("bob", "alice", "6")
	if d := receive(t, c); string(d.Body) != "6" || d.InboxSeq != 7 {
		t.Fatalf("received %q at %d, want the new entry", d.Body, d.InboxSeq)
	}
	f.eventually("2 and 3 acknowledged on the new connection", func() bool { return f.sessions["phone"].cursor == 3 })
	for _, d := range got[3:] {
		d.Ack()
	}
	f.eventually("up to 6 acknowledged", func() bool { return f.sessions["phone"].cursor == 6 })
}

// A program that ends without acknowledging gets the entry again.
func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	first, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		f.from("bob", "alice", fmt.Sprint(i))
	}
	receive(t, first).Ack()
	receive(t, first)
	closeNow(t, first)
	second := dial(t, o)
	if got := receiveBodies(t, second, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("received %q, want what was not acknowledged", got)
	}
}

// A session that the server has lost must not lose an entry.
func TestALostSessionIsContinued(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	for i := range 4 {
		f.from("bob", "alice", fmt.Sprint(i))
	}
	receiveBodies(t, c, 2)
	third := receive(t, c)
	f.eventually("two acknowledged", func() bool { return f.sessions["phone"].cursor == 2 })
	f.do(func() {
		delete(f.sessions, "phone")
		for i := 4; i < 8; i++ {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte(fmt.Sprint(i))})
		}
	})
	f.cut()
	if got := receiveBodies(t, c, 5); !slices.Equal(got, []string{"3", "4", "5", "6", "7"}) {
		t.Errorf("received %q, want all that came meanwhile", got)
	}
	third.Ack()
	f.eventually("all acknowledged", func() bool { return f.sessions["phone"].cursor == 8 })
}

func TestAGapIsHandedOut(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	first, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, first)
	f.do(func() {
		for i := range 10 {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte(fmt.Sprint(i))})
		}
		f.expired["alice"] = 7
	})
	c := dial(t, o)
	gap := receive(t, c)
	if gap.Type != client.TypeGap || gap.Code != postbox.CodeExpired || gap.After != 0 || gap.Next != 8 || gap.Position() != (postbox.Position{Epoch: "k3f9", Seq: 7}) {
		t.Errorf("received %+v, want the gap from 0 to 8", gap.Envelope)
	}
	gap.Ack()
	if got := receiveBodies(t, c, 3); !slices.Equal(got, []string{"7", "8", "9"}) {
		t.Errorf("received %q behind the gap", got)
	}
}

// A long backlog passes through the server's window at the program's pace.
func TestABacklogArrivesInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	o.Buffer = 4 // smaller than the window: the connection is read more slowly
	first, err := client.Dial(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, first)
	const n = 1000
	f.do(func() {
		for i := range n {
			f.store(&postbox.Message{From: "bob", To: "alice", Body: []byte(fmt.Sprint(i))})
		}
	})
	c := dial(t, o)
	for i := range n {
		d := receive(t, c)
		if string(d.Body) != fmt.Sprint(i) || int(d.InboxSeq) != i+1 {
			t.Fatalf("entry %d is %q with number %d", i, d.Body, d.InboxSeq)
		}
		d.Ack()
		if i%100 == 99 {
			f.cut()
		}
	}
	f.eventually("all acknowledged", func() bool { return f.sessions["phone"].cursor == n })
}

func TestWhatCannotBeReadIsDroppedAndAcknowledged(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, options(f.url))
	f.do(func() {
		for _, p := range f.conns {
			f.write(p, 1, []byte("no JSON"))
		}
	})
	f.eventually("it is acknowledged", func() bool { return len(f.acks["phone"]) == 1 })
	f.from("bob", "alice", "hello")
	if got := receiveBodies(t, c, 1); got[0] != "hello" {
		t.Errorf("received %q", got)
	}
}

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

func TestSendRefusesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	o := options(f.url)
	o.SendOnly = true
	c := dial(t, o)
	if _, err := c.Send(bounded(t), "Bob", nil); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("a name that nobody can have: %v", err)
	}
	if _, err := c.Send(bounded(t), "bob", nil, client.WithKey("a/b")); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("a key with a slash: %v", err)
	}
	if _, err := c.Send(bounded(t), "bob", make([]byte, 64<<10+1)); !errors.Is(err, postbox.ErrTooLarge) {
		t.Errorf("a body over the limit: %v", err)
	}
	if _, err := c.Receive(bounded(t)); !errors.Is(err, postbox.ErrInvalid) {
		t.Errorf("Receive with SendOnly: %v", err)
	}
	f.do(func() {
		if len(f.seen) != 0 {
			t.Errorf("the server has seen %v", f.seen)
		}
	})
}

func TestOneKeyServesOneSendAtATime(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	f.fault = func(*packets.PublishPacket) fault {
		close(arrived)
		f.mu.Unlock()
		<-release
		f.mu.Lock()
		return fault{}
	}
	c := dial(t, options(f.url))
	first := make(chan error)
	go func() {
		_, err := c.Send(bounded(t), "bob", []byte("x"), client.WithKey("k"))
		first <- err
	}()
	<-arrived
	if _, err := c.Send(bounded(t), "bob", []byte("x"), client.WithKey("k")); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("a second Send under the key: %v, want ErrConflict", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the first Send: %v", err)
	}
}
