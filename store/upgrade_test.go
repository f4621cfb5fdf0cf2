package store_test

import (
	"database/sql"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"postbox"
	"postbox/internal/pgtest"
	"postbox/schema"
)

// What a device has published before an upgrade is recognised after it, if it was in the
// last day; and numbers go on behind the entries that there are.
func TestUpgradeOfAnInbox(t *testing.T) {
	t.Parallel()
	w := &world{t: t, url: pgtest.New(t), ids: make(map[postbox.User]postbox.UserID)}
	db, err := sql.Open("postgres", w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	old, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("../schema/migrations"),
		goose.WithTableName("postbox.schema_version"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DROP SCHEMA postbox CASCADE; CREATE SCHEMA postbox`); err != nil {
		t.Fatal(err)
	}
	if _, err := old.UpTo(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	yesterday, today := newID(), newID()
	if _, err := db.Exec(`
		INSERT INTO postbox.users (id, name) VALUES (1, 'alice'), (2, 'bob');
		INSERT INTO postbox.conversations (id, user_low, user_high) VALUES (3, 1, 2);
		INSERT INTO postbox.logs (id) VALUES (1), (2), (3);
		SELECT setval('postbox.log_id', 3);
		INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq) VALUES (1, 1, 3, 1), (1, 2, 3, 2), (2, 1, 3, 1), (2, 2, 3, 2)`); err != nil {
		t.Fatal(err)
	}
	for seq, id := range []postbox.MessageID{yesterday, today} {
		if _, err := db.Exec(`
			INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq, sent_at, id, packet_id, qos, digest, device, body)
			VALUES (3, $1::bigint, 1, $1, $1, now() - (2 - $1) * interval '25 hours', $2, 700 + $1::integer, 1, '0123456789abcdef', 'phone', 'hello')`, seq+1, id.String()); err != nil {
			t.Fatal(err)
		}
	}
	if err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}

	w.store = w.open(w.url)
	w.ids["alice"], w.ids["bob"] = 1, 2
	if got, _ := w.record("alice", "phone", 701, postbox.MessageID{}); got != nil {
		t.Errorf("of the day before yesterday there is %+v", got)
	}
	got, _ := w.record("alice", "phone", 702, postbox.MessageID{})
	if got == nil || got.QoS != 1 || got.Stored.ID != today || got.Stored.Seq != 2 || got.Stored.InboxSeq != 2 || string(got.Stored.Digest[:]) != "0123456789abcdef" {
		t.Errorf("of today there is %+v", got)
	}
	l, next := w.lane(0), []*postbox.Publish{w.publish("bob", "alice", "more"), w.publish("bob", "alice", "and more")}
	w.append(l, next...)
	if diff := cmp.Diff([]string{"hello", "hello", "more", "and more"}, bodies(w.entries("alice"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.wantDense()
}
