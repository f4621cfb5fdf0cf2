package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
	"postbox/api"
)

// fake plays the server of docs/spec.md §3 to §6 for MQTT 3.1.1, in memory, so
// that faults happen at an exact point: a cut between the commit and its
// acknowledgement, a session that is gone, a refusal. What a real server does
// of its own accord is tested against a real one.
type fake struct {
	t     testing.TB
	url   string
	epoch postbox.Epoch

	mu       sync.Mutex
	inboxes  map[postbox.User][]*postbox.Message
	keys     map[string]postbox.Stored // by sender and key
	made     int                       // messages
	sessions map[string]*session
	conns    map[net.Conn]*peer
	expired  map[postbox.User]postbox.InboxSeq // entries up to it are gone
	// connack answers each CONNECT; nil accepts.
	connack func(*packets.ConnectPacket) byte
	// fault, if set, decides about each PUBLISH.
	fault    func(p *packets.PublishPacket) fault
	connects int // CONNECTs so far
	// hold keeps all deliveries back.
	hold bool
	// seen counts PUBLISHes of each key.
	seen map[string]int
	// acks are the packet ids of the PUBACKs of the current connection of each
	// device, in order.
	acks map[string][]uint16
	wg   sync.WaitGroup
}

// fault is what goes wrong with one PUBLISH.
type fault struct {
	cutBefore bool // the connection dies before the message is stored
	cutAfter  bool // … after it is stored, before anybody is told
	refuse    *postbox.Error
	mute      bool // the reply of a request is dropped
}

// session is what the server keeps of a device.
type session struct {
	cursor     postbox.InboxSeq
	subscribed bool
}

// peer is one connection.
type peer struct {
	net.Conn
	user    postbox.User
	device  string
	session *session
	next    postbox.InboxSeq // the next entry to deliver
	open    map[uint16]postbox.InboxSeq
	gap     bool // the announced gap is not acknowledged
	replies bool // it hears the replies to its requests
}

const (
	fakeWindow = 64
	gapID      = 60001
)

func newFake(t testing.TB) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{
		t: t, url: "tcp://" + listener.Addr().String(), epoch: "k3f9",
		inboxes: make(map[postbox.User][]*postbox.Message), keys: make(map[string]postbox.Stored),
		sessions: make(map[string]*session), conns: make(map[net.Conn]*peer),
		expired: make(map[postbox.User]postbox.InboxSeq),
		seen:    make(map[string]int), acks: make(map[string][]uint16),
	}
	f.wg.Go(func() { f.accept(listener) })
	t.Cleanup(func() {
		listener.Close()
		f.cut()
		f.wg.Wait()
	})
	return f
}

// secure makes f reachable over TLS too, as MQTT and over WebSocket with the
// given subprotocol, and returns what trusts its certificate.
func (f *fake) secure(subprotocol string) (mqtts, wss string, trust *tls.Config) {
	f.t.Helper()
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
		if err != nil {
			return
		}
		f.serve(websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
	}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		f.t.Fatal(err)
	}
	f.wg.Go(func() { f.accept(listener) })
	f.t.Cleanup(func() {
		listener.Close()
		f.cut()
		web.Close()
	})
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	return "tls://" + listener.Addr().String(), "wss" + strings.TrimPrefix(web.URL, "https"), &tls.Config{RootCAs: roots}
}

func (f *fake) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.serve(conn) })
	}
}

// cut kills all connections.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

// do runs change under the lock.
func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) serve(conn net.Conn) {
	p := &peer{Conn: conn, open: make(map[uint16]postbox.InboxSeq)}
	defer conn.Close()
	f.do(func() { f.conns[conn] = p })
	defer f.do(func() { delete(f.conns, conn) })
	for {
		packet, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		f.mu.Lock()
		alive := f.handle(p, packet)
		f.mu.Unlock()
		if !alive {
			return
		}
	}
}

// handle answers one packet; false cuts the connection.
func (f *fake) handle(p *peer, packet packets.ControlPacket) bool {
	switch m := packet.(type) {
	case *packets.ConnectPacket:
		return f.connect(p, m)
	case *packets.SubscribePacket:
		f.subscribe(p, m)
	case *packets.PublishPacket:
		return f.publish(p, m)
	case *packets.PubackPacket:
		f.acknowledge(p, m.MessageID)
	case *packets.PingreqPacket:
		_ = packets.NewControlPacket(packets.Pingresp).Write(p)
	case *packets.DisconnectPacket:
		return false
	default:
		f.t.Errorf("the client sent a packet that nobody expects: %s", m)
		return false
	}
	return true
}

func (f *fake) connect(p *peer, m *packets.ConnectPacket) bool {
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	f.connects++
	if f.connack != nil {
		ack.ReturnCode = f.connack(m)
	}
	if m.ProtocolVersion != 4 {
		f.t.Errorf("CONNECT of version %d", m.ProtocolVersion)
	}
	if ack.ReturnCode != packets.Accepted {
		_ = ack.Write(p)
		return false
	}
	p.user, p.device = postbox.User(m.Username), m.ClientIdentifier
	if m.CleanSession {
		delete(f.sessions, p.device)
	}
	p.session = f.sessions[p.device]
	ack.SessionPresent = p.session != nil
	if p.session == nil {
		p.session = &session{cursor: postbox.InboxSeq(len(f.inboxes[p.user]))}
		f.sessions[p.device] = p.session
	}
	p.next = p.session.cursor + 1
	f.acks[p.device] = nil
	_ = ack.Write(p)
	f.deliver(p)
	return true
}

func (f *fake) subscribe(p *peer, m *packets.SubscribePacket) {
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = m.MessageID
	for _, topic := range m.Topics {
		filter, err := postbox.ParseFilter(topic, p.user)
		if err != nil {
			ack.ReturnCodes = append(ack.ReturnCodes, 0x80)
			continue
		}
		if filter.Control {
			if filter.Since.Epoch != f.epoch && filter.Since != (postbox.Position{}) {
				f.t.Errorf("the client continues in epoch %s, not in %s", filter.Since.Epoch, f.epoch)
			}
			p.session.cursor = filter.Since.Seq
			p.next = p.session.cursor + 1
		}
		p.replies = p.replies || filter.Kind == postbox.KindReply
		if filter.Kind == postbox.KindInbox && !filter.Control {
			p.session.subscribed = true
		}
		ack.ReturnCodes = append(ack.ReturnCodes, 1)
	}
	_ = ack.Write(p)
	f.deliver(p)
}

// publish takes a message, as it is or as the request send.
func (f *fake) publish(p *peer, m *packets.PublishPacket) bool {
	topic, err := postbox.ParseTopic(m.TopicName)
	if err != nil || m.Qos != 1 || topic.Key == "" && topic.Operation != "send" {
		f.t.Errorf("the client published to %s with QoS %d: %v", m.TopicName, m.Qos, err)
		return false
	}
	message := &postbox.Message{From: p.user, To: topic.User, Key: topic.Key, Device: p.device, Body: m.Payload}
	request := topic.Kind == postbox.KindAPI
	var asked struct {
		To        postbox.User `json:"to"`
		Key       string       `json:"idempotency_key"`
		Body      string       `json:"body"`
		Base64    []byte       `json:"body_base64"`
		RequestID string       `json:"request_id"`
	}
	if request {
		if err := json.Unmarshal(m.Payload, &asked); err != nil {
			f.t.Errorf("the request %q: %v", m.Payload, err)
		}
		message.To, message.Key, message.Body = asked.To, asked.Key, append([]byte(asked.Body), asked.Base64...)
	}
	f.seen[message.Key]++
	var wrong fault
	if f.fault != nil {
		wrong = f.fault(m)
	}
	if wrong.cutBefore {
		return false
	}
	ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	ack.MessageID = m.MessageID
	if wrong.refuse != nil {
		// In front of an acknowledgement that says nothing.
		if request {
			f.reply(p, api.AppendError(nil, wrong.refuse, asked.RequestID))
		}
		if !request || wrong.refuse.Code == postbox.CodeRateLimited {
			f.write(p, gapID+1, postbox.AppendError(nil, wrong.refuse, m.TopicName, topic.Key))
		}
		_ = ack.Write(p)
		return true
	}
	stored, duplicate := f.store(message)
	if wrong.cutAfter {
		return false
	}
	if request && !wrong.mute {
		f.reply(p, api.AppendSent(nil, stored, duplicate, asked.RequestID))
	}
	_ = ack.Write(p)
	for _, other := range f.conns {
		f.deliver(other)
	}
	return true
}

// reply sends the reply to a request.
func (f *fake) reply(p *peer, payload []byte) {
	if !p.replies {
		f.t.Error("the client asks without listening for the reply")
	}
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload = fmt.Sprintf("reply/%s/%s", p.user, p.device), payload
	_ = m.Write(p)
}

// store appends m to the inboxes of both, unless its key is known.
func (f *fake) store(m *postbox.Message) (stored postbox.Stored, duplicate bool) {
	if id := string(m.From) + " " + m.Key; m.Key != "" {
		if old, ok := f.keys[id]; ok {
			return old, true
		}
		defer func() { f.keys[id] = stored }()
	}
	f.made++
	m.ID[15] = byte(f.made)
	m.Seq = postbox.Seq(len(f.inboxes[m.To]) + 1)
	m.SentAt = time.UnixMilli(1_795_348_800_000)
	f.inboxes[m.From] = append(f.inboxes[m.From], m)
	if m.To != m.From {
		f.inboxes[m.To] = append(f.inboxes[m.To], m)
	}
	return postbox.Stored{ID: m.ID, Seq: m.Seq, InboxSeq: postbox.InboxSeq(len(f.inboxes[m.From])), SentAt: m.SentAt}, false
}

// deliver sends p what is due to it and has room in its window.
func (f *fake) deliver(p *peer) {
	if f.hold || p.session == nil || !p.session.subscribed || p.gap {
		return
	}
	if gone := f.expired[p.user]; p.next <= gone {
		p.gap = true
		f.write(p, gapID, postbox.AppendGap(nil, f.epoch, postbox.CodeExpired, p.next-1, gone+1))
		p.next = gone + 1
		return
	}
	inbox := f.inboxes[p.user]
	for len(p.open) < fakeWindow && int(p.next) <= len(inbox) {
		m := inbox[p.next-1]
		e := postbox.Entry{InboxSeq: p.next, Message: m, Own: m.From == p.user}
		p.open[p.next.PacketID()] = p.next
		f.write(p, p.next.PacketID(), postbox.AppendEnvelope(nil, &e, postbox.View{Epoch: f.epoch, After: p.next - 1, Now: m.SentAt}))
		p.next++
	}
}

func (f *fake) write(p *peer, id uint16, payload []byte) {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Qos, m.MessageID, m.Payload = fmt.Sprintf("inbox/%s", p.user), 1, id, payload
	_ = m.Write(p)
}

func (f *fake) acknowledge(p *peer, id uint16) {
	f.acks[p.device] = append(f.acks[p.device], id)
	if id == gapID {
		p.gap = false
		p.session.cursor = f.expired[p.user]
	}
	delete(p.open, id)
	if id < gapID {
		p.session.cursor = p.next - 1
		for _, n := range p.open {
			p.session.cursor = min(p.session.cursor, n-1)
		}
	}
	f.deliver(p)
}

// from stores a message of somebody else's and delivers it.
func (f *fake) from(sender, to postbox.User, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(&postbox.Message{From: sender, To: to, Body: []byte(body)})
	for _, p := range f.conns {
		f.deliver(p)
	}
}
