package importer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// A PostgreSQL source, over several pages: names for senders, other columns, times
// with and without an offset, bytes for texts.
func TestFromPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, url := foreign(t, `
		CREATE SCHEMA chat;
		CREATE TABLE chat.people (uid bigint PRIMARY KEY, login text, pass text);
		INSERT INTO chat.people VALUES (7, 'Alice', ''), (8, 'Bob', ''), (9, 'Carol', '');
		CREATE TABLE chat.pm (no uuid PRIMARY KEY, von text, an text, txt bytea, gesendet timestamptz, gelesen timestamptz);
		INSERT INTO chat.pm SELECT gen_random_uuid(), 'Alice', 'Bob', convert_to('nr ' || i, 'UTF8'), '2020-01-01 00:00:00+01'::timestamptz + i * interval '1 second',
		       CASE WHEN i <= 5500 THEN now() END FROM generate_series(1, 6000) AS i`)
	o := Options{
		From: url, Messages: "chat.pm", Users: "chat.people", ContentType: "text/x-old",
		Columns: map[string]string{"id": "no", "sender": "von", "receiver": "an", "body": "txt", "created_at": "gesendet", "read": "gelesen"},
	}
	r := w.run(o)
	if r.Messages != (MessageReport{Read: 6_000, New: 6_000}) || r.Accounts != (AccountReport{Read: 3, New: 3}) || !r.Done {
		t.Errorf("%+v", r)
	}
	got := w.history("bob")
	if len(got) != 6_000 {
		t.Fatalf("%d messages", len(got))
	}
	for i, line := range got {
		if want := fmt.Sprintf("nr %d", i+1); !strings.HasSuffix(line, want) {
			t.Fatalf("message %d is %q: not in the order of time", i+1, line)
		}
	}
	if want := "alice>bob 2019-12-31T23:00:01Z nr 1"; got[0] != want {
		t.Errorf("%s, want %s", got[0], want)
	}
	places, err := w.db.Conversations(t.Context(), w.id("bob"), postbox.ListBound{}, 10)
	if err != nil || len(places) != 1 || places[0].ReadSeq != 5_500 || places[0].Last.ContentType != "text/x-old" {
		t.Errorf("%+v, %v", places, err)
	}
	if _, err := app.Exec(`INSERT INTO chat.pm VALUES (gen_random_uuid(), 'Carol', 'Alice', 'new', '2025-01-01', NULL)`); err != nil {
		t.Fatal(err)
	}
	if r := w.run(o); r.Messages.New != 1 || r.Messages.There != 6_000 {
		t.Errorf("once more: %+v", r.Messages)
	}
}

func (w *world) id(user postbox.User) postbox.UserID {
	w.Helper()
	u, err := w.db.UserByName(w.Context(), user)
	if err != nil {
		w.Fatal(err)
	}
	return u.ID
}

// CSV files, without ids: what is the same in all is as often there as it was, and
// not more often the second time.
func TestFromCSV(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const head = "\ufefffrom;to;text;date\n"
	const rows = "1;2;\"second; with a\nline\";2020-01-01 10:00:02\n" + "1;2;first;2020-01-01 10:00:01\n" +
		"2;1;ha;2020-01-01 10:00:03\n2;1;ha;2020-01-01 10:00:03\n2;1;ha;2020-01-01 10:00:04\n2;1;ha;2020-01-01 10:00:03\n"
	users := w.csv("users.csv", "id,username\n1,Alice\n2,Bob\n")
	file := w.csv("messages.csv", head+rows)
	o := Options{From: file, Users: users}
	if r := w.run(o); r.Messages.New != 6 || !slices.Equal(r.WithoutPassword, []string{"alice", "bob"}) {
		t.Errorf("%+v", r)
	}
	want := []string{
		"alice>bob 2020-01-01T10:00:01Z first", "alice>bob 2020-01-01T10:00:02Z second; with a\nline",
		"bob>alice 2020-01-01T10:00:03Z ha", "bob>alice 2020-01-01T10:00:03Z ha", "bob>alice 2020-01-01T10:00:03Z ha", "bob>alice 2020-01-01T10:00:04Z ha",
	}
	if diff := cmp.Diff(want, w.history("alice")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// The file was written anew, in another order and with one more.
	more := w.csv("messages.csv", "from;to;text;date\n2;1;ha;2020-01-01 10:00:04\n"+rows)
	o.From = more
	if r := w.run(o); r.Messages.New != 1 || r.Messages.There != 6 {
		t.Errorf("once more: %+v", r.Messages)
	}
	if got := w.history("bob"); len(got) != 7 {
		t.Errorf("%d messages: %q", len(got), got)
	}
}

// Without a list of users, the names are those of accounts that there are.
func TestFromCSVWithoutUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []postbox.User{"alice", "bob"} {
		if _, err := w.db.AddUser(t.Context(), name, "", false); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{From: w.csv("pm.csv", "id,sender,receiver,message,created_at\n1,Alice,bob,hello,1600000000\n2,alice,zed,hello,1600000001\n"), SkipBad: true}
	r := w.run(o)
	want := []RowProblem{{Problem: "the receiver is no user", Count: 1, First: []string{"id 2"}}}
	if diff := cmp.Diff(want, r.Rows); diff != "" || r.Messages.New != 1 || r.Accounts.New != 0 {
		t.Errorf("%+v, -want +got:\n%s", r, diff)
	}
}

// All that cannot be taken is told, before anything is written; then the rest comes.
func TestTellsAllFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.db.AddUser(t.Context(), "dave", "", false); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Users: w.csv("users.csv", "id,username,password\n1,Alice,$2y$04$xx\n2,alice ,\n3,Bob,\n4,Jürgen,\n5,,\n6,Dave,\n7,carol,\n"),
		From: w.csv("messages.csv", "id,sender_id,receiver_id,content,created_at\n"+
			"1,3,7,fine,2020-01-01 10:00:00\n2,3,99,x,2020-01-01 10:00:00\n3,98,3,x,2020-01-01 10:00:00\n4,3,1,x,2020-01-01 10:00:00\n"+
			"5,3,7,x,\n6,3,7,x,soon\n7,3,7,x,2036-01-01\n8,3,7,\\N,2020-01-01 10:00:00\n9,3,7,too much text,2020-01-01 10:00:00\n10,3,7,\xff,2020-01-01 10:00:00\n"+
			"11,3,100,x,2020-01-01 10:00:00\n,3,7,x,2020-01-01 10:00:00\n1,3,7,again,2020-01-02 10:00:00\n"),
		BodySize: 10,
	}
	r := w.refused(o, "5 users can have no account", "12 messages cannot be taken")
	var names []string
	for _, n := range r.Names {
		names = append(names, fmt.Sprintf("%s %q %s; %s", n.Ref, n.Name, n.Problem, n.Suggest))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{
		`1 "Alice" would be alice, and so would "alice "; alice-2`,
		`2 "alice " would be alice, and so would "Alice"; alice-2`,
		`4 "Jürgen" the user name "jürgen" is not allowed: use a-z, 0-9 and, after the first character, . _ @ -; jurgen`,
		`5 "" the user name is empty; `,
		`6 "Dave" there is an account dave in Postbox: --existing says that those of the same name are the same people; dave-2`,
	}, names); diff != "" {
		t.Errorf("names: -want +got:\n%s", diff)
	}
	want := []RowProblem{
		{"the receiver is no user", 2, []string{"id 2", "id 11"}}, {"the sender is no user", 1, []string{"id 3"}},
		{"the sender or the receiver can have no account", 1, []string{"id 4"}}, {errNoTime.Error(), 1, []string{"id 5"}},
		{errTime.Error(), 1, []string{"id 6"}}, {errTomorrow.Error(), 1, []string{"id 7"}}, {"there is no text", 1, []string{"id 8"}},
		{"the text has more than 10 bytes (limits.body_size)", 1, []string{"id 9"}}, {"the text is not UTF-8", 1, []string{"id 10"}},
		{"there is no id", 1, []string{"id "}}, {"another one before it has its id", 1, []string{"id 1"}},
	}
	if diff := cmp.Diff(want, r.Rows); diff != "" {
		t.Errorf("rows: -want +got:\n%s", diff)
	}
	o.Map, o.Existing = w.csv("map.csv", "Jürgen,jurgen\n\"alice \",alice.two\n"), true
	w.refused(o, "1 users can have no account", "11 messages cannot be taken")
	o.SkipBad = true
	if r := w.run(o); r.Messages.New != 2 || r.Accounts != (AccountReport{Read: 7, New: 5, There: 1}) {
		t.Errorf("%+v", r)
	} else if diff := cmp.Diff([]TakenAccount{{"6", "Dave", "dave"}}, r.Taken); diff != "" {
		t.Errorf("taken: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"bob>alice 2020-01-01T10:00:00Z x"}, w.history("alice")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What has got an account keeps it.
	if r := w.run(o); r.Messages.New != 0 || r.Accounts != (AccountReport{Read: 7, There: 6}) {
		t.Errorf("once more: %+v", r)
	}
}

// Messages of two sources are not taken for each other, nor are their users.
func TestOtherSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const head = "id,sender,receiver,message,created_at\n"
	o := Options{Users: w.csv("users.csv", "id,username\n1,alice\n2,bob\n"), From: w.csv("messages.csv", head+"1,1,2,one,1600000000\n")}
	w.run(o)
	other := Options{Users: w.csv("users.csv", "id,username\n1,carol\n2,bob\n"), From: w.csv("messages.csv", head+"1,2,2,another,1600000000\n")}
	r := w.refused(other, "1 users can have no account")
	if len(r.Names) != 1 || !strings.Contains(r.Names[0].Problem, "was imported before as alice") {
		t.Errorf("%+v", r.Names)
	}
	other.As = "the other one"
	if r := w.refused(other, "1 users can have no account"); !strings.Contains(r.Names[0].Problem, "there is an account bob") {
		t.Errorf("%+v", r.Names)
	}
	other.Existing = true
	if r := w.run(other); r.Messages.New != 1 || r.Accounts.New != 1 {
		t.Errorf("%+v", r)
	}
	// A message that has changed stays, and that is told.
	o.From = w.csv("messages.csv", head+"1,1,2,changed,1600000000\n")
	if r := w.run(o); r.Messages != (MessageReport{Read: 1, There: 1, Changed: 1}) {
		t.Errorf("%+v", r.Messages)
	}
}

// What would ring a phone many times, or lose its time, is asked for first.
func TestAsksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const head = "id,sender,receiver,message,created_at\n"
	users := w.csv("users.csv", "id,username\n1,alice\n2,bob\n")
	w.run(Options{As: "x", Users: users, From: w.csv("m.csv", head+"5,1,2,five,1600000005\n")})
	if _, err := w.db.DB().Exec(`INSERT INTO postbox.devices (user_id, client_id, epoch, protocol, expires_after) VALUES ($1, 'phone', 'e', 5, 1000)`, w.id("bob")); err != nil {
		t.Fatal(err)
	}
	o := Options{As: "x", Users: users, From: w.csv("m.csv", head+"3,1,2,three,1600000003\n5,1,2,five,1600000005\n6,1,2,six,1600000006\n"), MostDelivered: 1}
	r := w.refused(o, "1 messages are older than the last one", "1 accounts have devices that would get more than 1 messages")
	if diff := cmp.Diff([]DeviceReport{{"bob", 2}}, r.Devices); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	o.Late, o.Deliver = true, true
	if r := w.run(o); r.Messages != (MessageReport{Read: 3, New: 2, There: 1, Late: 1}) {
		t.Errorf("%+v", r.Messages)
	}
	want := []string{"alice>bob 2020-09-13T12:26:45Z five", "alice>bob 2020-09-13T12:26:45Z three", "alice>bob 2020-09-13T12:26:46Z six"}
	if diff := cmp.Diff(want, w.history("bob")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Wrong usage is told with what to do.
func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, url := foreign(t, `
		CREATE TABLE people (id int, username text); INSERT INTO people VALUES (1, '2'), (2, '1');
		CREATE TABLE pm (id int, sender text, receiver text, message text, created_at timestamp);
		INSERT INTO pm SELECT 1, '1', '2', 'x', now() FROM generate_series(1, 3);
		CREATE TABLE numbers AS SELECT * FROM pm LIMIT 1`)
	users := w.csv("users.csv", "id,username\n1,alice\n1,bob\n")
	messages := w.csv("messages.csv", "id,sender,receiver,message,created_at\n")
	for want, o := range map[string]Options{
		"is not known: there is socket and tls": {From: "mysql://root@127.0.0.1/app?sockte=/x"},
		"names no database":                     {From: "mysql://root@127.0.0.1/"},
		"oracle://: there is mysql://":          {From: "oracle://x/y"},
		"no such file":                          {From: "/nowhere/messages.csv"},
		"--messages is a table of a database":   {From: messages, Messages: "m"},
		"no column of messages.csv looks like body: name it with --column body=COLUMN; there are id, sender": {From: w.csv("messages.csv", "id,sender,receiver,x,created_at\n")},
		"--column body=y: messages.csv has no such column":                                                   {From: messages, Columns: map[string]string{"body": "y"}},
		"--column text=…: there is no such field":                                                            {From: messages, Columns: map[string]string{"text": "y"}},
		"two users of users.csv have the key":                                                                {From: messages, Users: users},
		"look at table nothing":                                                                              {From: url, Messages: "nothing"},
		"say which with --refs id or --refs name":                                                            {From: url, Messages: "numbers", Users: "people"},
		"is no key, since \"1\" is there twice":                                                              {From: url, Messages: "pm", Users: "people", Refs: "id"},
		"there is no user \"zed\" in users.csv":                                                              {From: messages, Users: w.csv("users.csv", "id,username\n1,alice\n"), Map: w.csv("map", "zed,z\n")},
		"wrong number of fields":                                                                             {From: w.csv("messages.csv", "id,sender,receiver,message,created_at\n1,2\n")},
	} {
		o.BodySize = 100
		p, err := Prepare(t.Context(), w.db, o)
		if err == nil {
			_ = p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	if n := w.count(); n != 0 {
		t.Errorf("%d rows were written", n)
	}
}

// The password in a URL is not shown.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, from := range []string{"mysql://app:s3cret@127.0.0.1:1/app", "postgres://app:s3cret@127.0.0.1:1/app", "mysql://app:s3cret@%zz/app", "my sql://app:s3cret@x/app"} {
		_, err := Prepare(t.Context(), w.db, Options{From: from})
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", from, err)
		}
	}
}
