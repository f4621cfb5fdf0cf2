package store_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

// sent is a publish with a packet id from a device.
func (w *world) sent(device string, packetID uint16, body string) *postbox.Publish {
	p := w.publish("alice", "bob", body)
	p.Message.Device, p.PacketID, p.QoS = device, packetID, 1
	return p
}

// The record under a packet id is that of the last publish which used it.
func TestSentPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	first, other := w.sent("phone", 7, "first"), w.sent("laptop", 7, "other")
	old, none := w.sent("phone", 8, "old"), w.sent("phone", 0, "none")
	again := w.sent("phone", 7, "again")
	w.append(l, first, other, old, none)
	w.append(l, again)
	once, between, twice := w.sent("phone", 10, "once"), w.sent("phone", 11, "between"), w.sent("phone", 10, "twice")
	w.append(l, once, between, twice)
	before, answer, after := w.sent("phone", 20, "before"), w.publish("bob", "alice", "answer"), w.sent("phone", 21, "after")
	w.append(l, before, answer, after)
	w.exec(`UPDATE postbox.messages SET sent_at = sent_at - interval '24 hours 1 second' WHERE id = $1`, old.Message.ID.String())
	record := func(p *postbox.Publish) *postbox.SentPublish {
		return &postbox.SentPublish{PacketID: p.PacketID, QoS: p.QoS, Stored: stored(p)}
	}
	for _, test := range []struct {
		user     postbox.User
		device   string
		packetID uint16
		want     *postbox.SentPublish
	}{
		{"alice", "phone", 7, record(again)},
		{"alice", "laptop", 7, record(other)},
		{"alice", "phone", 10, record(twice)},
		{"alice", "phone", 11, record(between)},
		{"alice", "phone", 20, record(before)},
		{"alice", "phone", 21, record(after)},
		{"alice", "phone", 8, nil}, // older than a day
		{"alice", "phone", 9, nil},
		{"alice", "phone", 0, nil},
		{"alice", "tablet", 7, nil},
		{"bob", "phone", 7, nil},
	} {
		got, _ := w.record(test.user, test.device, test.packetID, postbox.MessageID{})
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s %d: -want +got:\n%s", test.user, test.device, test.packetID, diff)
		}
	}
}

// record looks for the last publish of a device under a packet id, and counts the looks.
func (w *world) record(user postbox.User, device string, packetID uint16, known postbox.MessageID) (p *postbox.SentPublish, looks int) {
	w.t.Helper()
	for before := postbox.InboxSeq(0); ; {
		var err error
		if p, before, err = w.store.SentPublish(w.t.Context(), w.ids[user], device, packetID, known, before); err != nil {
			w.t.Fatal(err)
		}
		if looks++; p != nil || before == 0 {
			return p, looks
		}
	}
}

// Devices of a user send under all sorts of packet ids, many messages in one commit, to
// several people who answer. Under each id of each device the last one is found.
func TestSentPublishAmongMany(t *testing.T) {
	t.Parallel()
	const seed = 3
	random := rand.New(rand.NewPCG(seed, seed))
	w := newWorld(t, "alice", "bob", "carol")
	l := w.lane(0)
	to := map[postbox.User]postbox.ConversationID{}
	for _, name := range []postbox.User{"alice", "bob", "carol"} {
		to[name] = w.publish("alice", name, "").Message.Conversation
	}
	type under struct {
		device string
		id     uint16
	}
	last := map[under]*postbox.Publish{}
	ids := []uint16{1, 2, 3, 63, 64, 65, 127, 128, 129, 4096 + 1, 65_535}
	for range 60 {
		var group []*postbox.Publish
		for range 1 + random.IntN(12) {
			name := []postbox.User{"alice", "bob", "carol"}[random.IntN(8)%3]
			if name != "alice" && random.IntN(4) == 0 {
				answer := w.draft(to[name], name, "alice", "answer")
				answer.Message.Device, answer.PacketID, answer.QoS = "phone", ids[random.IntN(len(ids))], 1
				group = append(group, answer)
				continue
			}
			p := w.draft(to[name], "alice", name, "message")
			group = append(group, p)
			if random.IntN(5) > 0 { // else it came over HTTP, or at QoS 0
				u := under{[]string{"phone", "laptop"}[random.IntN(6)/5], ids[random.IntN(len(ids))]}
				p.Message.Device, p.PacketID, p.QoS = u.device, u.id, byte(1+random.IntN(2))
				last[u] = p
			}
		}
		w.append(l, group...)
	}
	for _, device := range []string{"phone", "laptop"} {
		for _, id := range append(ids, 5, 66, 4096+2) {
			var want *postbox.SentPublish
			if p := last[under{device, id}]; p != nil {
				want = &postbox.SentPublish{PacketID: id, QoS: p.QoS, Stored: stored(p)}
			}
			if got, _ := w.record("alice", device, id, postbox.MessageID{}); !cmp.Equal(want, got) {
				t.Errorf("%s %d: -want +got:\n%s", device, id, cmp.Diff(want, got))
			}
		}
	}
}

// However many publishes of a device came between, a re-send is recognised; they are
// looked at in parts, and not beyond a day, nor beyond what the client knows of.
func TestSentPublishFarBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	far, between := w.sent("phone", 7, "far"), w.sent("phone", 8, "between")
	w.append(l, far)
	w.append(l, between)
	w.exec(`INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, publisher, packets)
		SELECT i.user_id, i.inbox_seq + n, i.conversation_id, i.seq, i.publisher, i.packets
		  FROM postbox.inbox i, generate_series(1, 2 * $3) AS n WHERE i.user_id = $1 AND i.inbox_seq = $2`,
		w.ids["alice"], int64(between.InboxSeq), store.ResendRows)
	want := &postbox.SentPublish{PacketID: 7, QoS: 1, Stored: stored(far)}
	if got, looks := w.record("alice", "phone", 7, postbox.MessageID{}); !cmp.Equal(want, got) || looks != 3 {
		t.Errorf("after %d looks, -want +got:\n%s", looks, cmp.Diff(want, got))
	}
	if got, looks := w.record("alice", "phone", 9, postbox.MessageID{}); got != nil || looks != 3 {
		t.Errorf("of what was never used there is %v, after %d looks", got, looks)
	}
	newest := w.sent("phone", 9, "newest")
	w.append(l, newest)
	if got, looks := w.record("alice", "phone", 7, newest.Message.ID); got != nil || looks != 1 {
		t.Errorf("the client knows of the newest: %v, after %d looks", got, looks)
	}
	w.exec(`DELETE FROM postbox.messages WHERE id = $1`, newest.Message.ID.String())
	if got, looks := w.record("alice", "phone", 9, postbox.MessageID{}); got != nil || looks != 1 {
		t.Errorf("the newest was deleted: %v, after %d looks", got, looks)
	}
	w.exec(`UPDATE postbox.messages SET sent_at = sent_at - interval '24 hours 1 second'`)
	if got, looks := w.record("alice", "phone", 10, postbox.MessageID{}); got != nil || looks != 1 {
		t.Errorf("all is from the day before: %v, after %d looks", got, looks)
	}
}

// QoS 2 ids are open from the batch that opens them to the one that closes
// them, and end with their session.
func TestOpenPublishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	phone, laptop := w.session("alice", "phone").Device, w.session("alice", "laptop").Device
	one, two := w.publish("alice", "bob", "one"), w.publish("alice", "bob", "two")
	open := func(d postbox.DeviceID, id uint16, p *postbox.Publish) postbox.OpenPublish {
		return postbox.OpenPublish{Device: d, PacketID: id, Message: p.Message.ID, Digest: p.Digest}
	}
	record := func(id uint16, p *postbox.Publish) postbox.SentPublish {
		return postbox.SentPublish{PacketID: id, QoS: 2, Stored: stored(p)}
	}
	step := func(b postbox.Batch, wantPhone, wantLaptop func() []postbox.SentPublish) {
		t.Helper()
		b.Now = time.Now()
		if err := l.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for d, want := range map[postbox.DeviceID]func() []postbox.SentPublish{phone: wantPhone, laptop: wantLaptop} {
			got, err := w.store.OpenPublishes(t.Context(), d)
			if diff := cmp.Diff(want(), got); err != nil || diff != "" {
				t.Errorf("device %d: %v, -want +got:\n%s", d, err, diff)
			}
		}
	}
	records := func(all ...postbox.SentPublish) func() []postbox.SentPublish {
		return func() []postbox.SentPublish { return all }
	}
	step(postbox.Batch{Publishes: []*postbox.Publish{one, two}, Opened: []postbox.OpenPublish{open(phone, 65_535, one), open(laptop, 65_535, two)}},
		func() []postbox.SentPublish { return []postbox.SentPublish{record(65_535, one)} },
		func() []postbox.SentPublish { return []postbox.SentPublish{record(65_535, two)} })
	// The id is used again without a release having been seen.
	step(postbox.Batch{Opened: []postbox.OpenPublish{open(phone, 65_535, two)}}, records(record(65_535, two)), records(record(65_535, two)))
	// Closed, opened and closed again in one batch, and one that was never open.
	step(postbox.Batch{
		Closed: []postbox.OpenPublish{{Device: phone, PacketID: 65_535}, {Device: laptop, PacketID: 3}},
		Opened: []postbox.OpenPublish{open(phone, 1, one)},
	}, records(record(1, one)), records(record(65_535, two)))
	// Nothing is opened for a session that has gone, and nobody is hurt by it.
	w.closeSession(phone, 0)
	three := w.publish("alice", "bob", "three")
	step(postbox.Batch{Publishes: []*postbox.Publish{three}, Opened: []postbox.OpenPublish{open(phone, 2, three), open(laptop, 2, three)},
		Closed: []postbox.OpenPublish{{Device: laptop, PacketID: 65_535}}},
		records(), func() []postbox.SentPublish { return []postbox.SentPublish{record(2, three)} })
	w.audit(3)
}

// A session that ends while a batch opens an id for it does not fail the batch.
func TestOpenPublishOfAnEndingSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	device := w.session("alice", "phone").Device
	tx, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`DELETE FROM postbox.devices WHERE id = $1`, device); err != nil {
		t.Fatal(err)
	}
	p := w.publish("alice", "bob", "at its end")
	b := batch(p)
	b.Opened = []postbox.OpenPublish{{Device: device, PacketID: 2, Message: p.Message.ID, Digest: p.Digest}}
	first := make(chan error)
	go func() { first <- l.Append(t.Context(), b) }()
	w.waitFor("the batch", blocked, appending, 1)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-first; !errors.Is(err, postbox.ErrUnavailable) {
		t.Errorf("the first try: %v, want one that is tried again", err)
	}
	if err := l.Append(t.Context(), b); err != nil {
		t.Error(err)
	}
	if got, err := w.store.OpenPublishes(t.Context(), device); err != nil || len(got) > 0 {
		t.Errorf("open: %+v, %v", got, err)
	}
	w.audit(1)
}

// A used key opens its id for the message that was stored then.
func TestOpenPublishBesideUsedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	device := w.session("alice", "phone").Device
	first := keyed(w.publish("alice", "bob", "one"), "k")
	w.append(l, first)
	again, fresh := keyed(w.publish("alice", "bob", "one"), "k"), w.publish("alice", "bob", "two")
	b := batch(again, fresh)
	b.Opened = []postbox.OpenPublish{{Device: device, PacketID: 2, Message: fresh.Message.ID, Digest: fresh.Digest}}
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	got, err := w.store.OpenPublishes(t.Context(), device)
	want := []postbox.SentPublish{{PacketID: 2, QoS: 2, Stored: stored(fresh)}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	w.audit(2)
}
