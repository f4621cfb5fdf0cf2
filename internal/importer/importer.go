package importer

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"time"
	"unicode/utf8"

	"postbox"
	"postbox/store"
)

// Options say what is imported, and how.
type Options struct {
	// From is a database, mysql://user:password@host/database or postgres://…, or a
	// CSV file of messages.
	From string
	// Messages and Users are tables of a database; messages and users if empty.
	// With a CSV file Users is one, too; none if empty. Users "none": senders and
	// receivers are the names of accounts that there are.
	Messages, Users string
	// Columns and UserColumns name columns by what they hold: see --help.
	Columns, UserColumns map[string]string
	// Refs is what senders and receivers are: "id", "name", or "" to find out.
	Refs string
	// Zone is that of times without an offset; UTC if nil.
	Zone *time.Location
	// Read is what counts as read when there is no column for it: all, if it is
	// "all" or empty, or "none".
	Read string
	// ContentType of all messages; that of the body if empty.
	ContentType string
	// As names the source, by which the same message is recognised; what From,
	// Messages and Users say if empty.
	As string
	// Map is a file of "old name,new name".
	Map string
	// BodySize is the most bytes of a message.
	BodySize int

	SkipBad  bool // go on without names and rows that cannot be taken
	Existing bool // accounts that have the name of a user are that user's
	Late     bool // messages may come after younger ones, and take their time
	Deliver  bool // devices that there are may get more than MostDelivered
	// MostDelivered is how many messages the devices of one account may get; 1,000
	// if zero.
	MostDelivered int

	Now      func() time.Time // time.Now if nil
	Progress func(done, total int, phase string)
}

func (o Options) mostDelivered() int {
	if o.MostDelivered > 0 {
		return o.MostDelivered
	}
	return 1000
}

// Plan is an import that was looked at, and not begun. It holds the messages until
// it is closed.
type Plan struct {
	Report
	o      Options
	db     *store.Store
	people *people
	// noUsers says that there is no table of them: accounts are known by their names.
	noUsers bool
	spool   *spool
	let     func()
}

// Close gives up what the plan holds.
func (p *Plan) Close() error {
	p.let()
	return p.spool.close()
}

// Prepare reads all that is to be imported and finds out what would become of it.
// It writes nothing. No other import from the same source can begin before the plan
// is closed.
func Prepare(ctx context.Context, db *store.Store, o Options) (plan *Plan, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Progress == nil {
		o.Progress = func(int, int, string) {}
	}
	messages, users, end, err := openTables(ctx, o)
	if err != nil {
		return nil, err
	}
	defer end()
	p := &Plan{o: o, db: db}
	if p.Source = o.As; p.Source == "" {
		p.Source = messages.label()
	}
	if p.let, err = db.HoldImport(ctx, p.Source); err != nil {
		return nil, err
	}
	if p.spool, err = newSpool(""); err != nil {
		p.let()
		return nil, err
	}
	if err := p.prepare(ctx, messages, users); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// openTables opens both; users may be nil.
func openTables(ctx context.Context, o Options) (messages, users table, end func(), err error) {
	if !isDatabase(o.From) {
		if o.Messages != "" {
			return nil, nil, nil, errors.New("--messages is a table of a database: with a CSV file, --from names it")
		}
		m, err := openCSV(o.From)
		if err != nil || o.Users == "" || o.Users == "none" {
			return m, nil, func() {}, err
		}
		u, err := openCSV(o.Users)
		return m, u, func() {}, err
	}
	d, err := openDatabase(ctx, o.From)
	if err != nil {
		return nil, nil, nil, err
	}
	end = func() { _ = d.close() }
	look := func(name, usual string) table {
		if name == "" {
			name = usual
		}
		t, e := d.table(ctx, name)
		err = errors.Join(err, e)
		return t
	}
	messages = look(o.Messages, "messages")
	if o.Users != "none" {
		users = look(o.Users, "users")
	}
	if err != nil {
		end()
	}
	return messages, users, end, err
}

func (p *Plan) prepare(ctx context.Context, messages, users table) (err error) {
	s, err := choose(messages, "--column", messageFields, p.o.Columns)
	if err != nil {
		return err
	}
	if p.noUsers = users == nil; p.noUsers {
		p.people, err = accountsOf(ctx, p.db)
	} else {
		if p.people, err = readPeople(ctx, users, p.o, &p.Report); err == nil {
			err = p.people.meet(ctx, p.db, p.o, &p.Report)
		}
	}
	if err != nil {
		return err
	}
	switch {
	case p.o.Refs == "" && users != nil:
		err = p.people.detect(ctx, messages, s)
	case p.o.Refs == "id":
		p.people.byID = true
	}
	if err != nil {
		return err
	}
	if err := p.collect(ctx, messages, s); err != nil {
		return err
	}
	return p.foresee(ctx)
}

// collect reads the messages.
func (p *Plan) collect(ctx context.Context, t table, s selection) error {
	total, err := t.count(ctx)
	if err != nil {
		return err
	}
	zone := p.o.Zone
	if s.moment(messageCreated) {
		zone = time.UTC
	}
	now, allRead := p.o.Now(), !s.has(messageRead) && p.o.Read != "none"
	prefix := keyPrefix(p.Source)
	repeated := onlyOnce(t, s)
	return t.read(ctx, s.names(), s.at[messageID], func(row []sql.NullString) error {
		p.Messages.Read++
		p.o.Progress(p.Messages.Read, int(total), "read")
		id, body := s.value(row, messageID), s.value(row, messageBody)
		name := fmt.Sprintf("row %d", p.Messages.Read)
		if id.Valid {
			name = "id " + shortened(id.String)
		}
		r := record{
			sender: p.people.find(s.value(row, messageSender).String), receiver: p.people.find(s.value(row, messageReceiver).String),
			read: allRead || s.has(messageRead) && s.value(row, messageRead).Valid && truth(s.value(row, messageRead).String),
			key:  prefix + keyOf(id.String), body: []byte(body.String),
		}
		at, err := parseTime(s.value(row, messageCreated).String, zone, now)
		r.at = at.UnixMilli()
		switch problem := p.problem(r, s, id, body); {
		case problem != "":
			p.bad(problem, name)
		case err != nil:
			p.bad(err.Error(), name)
		case repeated(id.String):
			p.bad("another one before it has its id", name)
		default:
			if !s.has(messageID) {
				r.key = prefix + contentKey(s, row)
			}
			return p.spool.add(r)
		}
		return nil
	})
}

// onlyOnce tells of each id of a file whether it was there before: of a table of a
// database that is known. It takes some tens of bytes for each.
func onlyOnce(t table, s selection) func(id string) bool {
	if _, file := t.(*csvTable); !file || !s.has(messageID) {
		return func(string) bool { return false }
	}
	seed, seen := maphash.MakeSeed(), make(map[uint64]struct{})
	return func(id string) bool {
		n := len(seen)
		seen[maphash.String(seed, id)] = struct{}{}
		return len(seen) == n
	}
}

// problem is why a message cannot be taken; none if empty.
func (p *Plan) problem(r record, s selection, id, body sql.NullString) string {
	switch {
	case s.has(messageID) && id.String == "":
		return "there is no id"
	case r.sender < 0:
		return "the sender is no user"
	case r.receiver < 0:
		return "the receiver is no user"
	case p.people.all[r.sender].out, p.people.all[r.receiver].out:
		return "the sender or the receiver can have no account"
	case !body.Valid:
		return "there is no text"
	case len(r.body) > p.o.BodySize:
		return fmt.Sprintf("the text has more than %d bytes (limits.body_size)", p.o.BodySize)
	case !utf8.Valid(r.body):
		return "the text is not UTF-8"
	}
	return ""
}

// shortened is what another database holds, for a terminal: quoted if it is more than
// a number or a word.
func shortened(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.40q…", s)
	}
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// keyPrefix begins the idempotency keys of a source's messages.
func keyPrefix(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "import:" + hex.EncodeToString(sum[:5]) + ":"
}

// keyOf is an id as part of a key.
func keyOf(id string) string {
	if len(id) <= 64 && postbox.CheckKey(id) == nil {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "h" + hex.EncodeToString(sum[:16])
}

// contentKey is the name of a message that has no id: what it says, to whom and
// when. Those that are the same are numbered later.
func contentKey(s selection, row []sql.NullString) string {
	h := sha256.New()
	for _, f := range []int{messageSender, messageReceiver, messageCreated, messageBody} {
		v := s.value(row, f).String
		fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return "c" + hex.EncodeToString(h.Sum(nil)[:16])
}
