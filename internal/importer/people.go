package importer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"postbox"
	"postbox/auth"
	"postbox/store"
)

// person is a user of the other application.
type person struct {
	store.ImportUser
	name    string // there
	account postbox.UserID
	out     bool // can have no account
	mapped  bool // by --map, to the name that was wanted
}

// people are all of them.
type people struct {
	all    []person
	byRef  map[string]int32
	byName map[string]int32
	byFold map[string]int32 // -1: several
	keyed  bool             // they have ids
	byID   bool             // senders and receivers are named by id
}

// accountBatch is how many accounts are looked up or made in one transaction.
const accountBatch = 1000

func (p *people) add(x person) {
	at := int32(len(p.all))
	p.all = append(p.all, x)
	p.byRef[x.Ref] = at
	p.byName[x.name] = at
	folded := fold(x.name)
	if _, twice := p.byFold[folded]; twice {
		at = -1
	}
	p.byFold[folded] = at
}

// find is whom a sender or receiver names; negative: nobody.
func (p *people) find(name string) int32 {
	if p.byID {
		if at, ok := p.byRef[strings.TrimSpace(name)]; ok {
			return at
		}
		return -1
	}
	if at, ok := p.byName[name]; ok {
		return at
	}
	if at, ok := p.byFold[fold(name)]; ok {
		return at
	}
	return -1
}

func newPeople() *people {
	return &people{byRef: map[string]int32{}, byName: map[string]int32{}, byFold: map[string]int32{}}
}

// readPeople reads the users, and judges their names.
func readPeople(ctx context.Context, t table, o Options, r *Report) (*people, error) {
	s, err := choose(t, "--user-column", userFields, o.UserColumns)
	if err != nil {
		return nil, err
	}
	var mapped map[string]postbox.User
	if o.Map != "" {
		if mapped, err = readMap(o.Map); err != nil {
			return nil, err
		}
	}
	p := newPeople()
	p.keyed = s.has(userID)
	err = t.read(ctx, s.names(), s.at[userID], func(row []sql.NullString) error {
		x := person{name: s.value(row, userName).String}
		x.Ref = x.name
		if p.keyed {
			x.Ref = strings.TrimSpace(s.value(row, userID).String)
		}
		if _, twice := p.byRef[x.Ref]; twice {
			return fmt.Errorf("two users of %s have the key %q", t.label(), x.Ref)
		}
		x.DisplayName = display(s.value(row, userDisplay).String)
		x.PasswordHash = s.value(row, userPassword).String
		_, x.mapped = mapped[x.name]
		x.judge(mapped, r)
		r.Accounts.Read++
		p.add(x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name := range mapped {
		if _, ok := p.byName[name]; !ok {
			return nil, fmt.Errorf("--map %s: there is no user %q in %s", o.Map, name, t.label())
		}
	}
	return p, nil
}

// display is a display name, without what none can hold.
func display(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), ""))
	runes := []rune(s)
	return string(runes[:min(len(runes), 100)])
}

// judge finds the account's name, and whether the password can be kept.
func (x *person) judge(mapped map[string]postbox.User, r *Report) {
	if auth.CheckHash(x.PasswordHash) != nil {
		x.PasswordHash = ""
	}
	if name, ok := mapped[x.name]; ok {
		x.Name = name
		return
	}
	name, err := postbox.ParseUser(fold(x.name))
	if err != nil {
		x.leaveOut(r, postbox.AsError(err).Message, suggest(x.name))
		return
	}
	x.Name = name
}

func (x *person) leaveOut(r *Report, problem, suggestion string) {
	x.out = true
	r.Names = append(r.Names, NameProblem{Ref: x.Ref, Name: x.name, Problem: problem, Suggest: suggestion})
}

// collide finds those who would have one name: of them only who has had the account
// before gets it.
func (p *people) collide(r *Report) {
	first := make(map[postbox.User]*person)
	for i := range p.all {
		x := &p.all[i]
		other := first[x.Name]
		switch {
		case x.out:
		case other == nil:
			first[x.Name] = x
		case x.account != 0 && !x.Existing:
			p.clash(r, other, x)
			first[x.Name] = x
		default:
			if other.account == 0 || other.Existing {
				p.clash(r, other, x)
			}
			p.clash(r, x, other)
		}
	}
}

func (p *people) clash(r *Report, x, other *person) {
	if !x.out {
		x.leaveOut(r, fmt.Sprintf("would be %s, and so would %q", x.Name, other.name), fmt.Sprintf("%.60s-2", x.Name))
	}
}

// meet looks up which accounts there are, and settles who gets which.
func (p *people) meet(ctx context.Context, db *store.Store, o Options, r *Report) error {
	for from := 0; from < len(p.all); from += accountBatch {
		some := p.all[from:min(from+accountBatch, len(p.all))]
		states, err := db.ImportStates(ctx, r.Source, imports(some))
		if err != nil {
			return err
		}
		for i, st := range states {
			some[i].meet(st, o, r)
		}
	}
	p.collide(r)
	for i := range p.all {
		x := &p.all[i]
		switch {
		case x.out:
			continue
		case x.account != 0:
			r.Accounts.There++
			if x.Existing && !x.mapped && x.name != string(x.Name) {
				r.Taken = append(r.Taken, TakenAccount{Ref: x.Ref, Name: x.name, Account: string(x.Name)})
			}
		default:
			r.Accounts.New++
		}
		if x.PasswordHash == "" && !x.Existing {
			r.WithoutPassword = append(r.WithoutPassword, string(x.Name))
		}
	}
	return nil
}

// meet takes the account that is there for the user, if any.
func (x *person) meet(st store.ImportState, o Options, r *Report) {
	switch {
	case x.out:
	case st.Account != 0 && st.AccountName != x.Name:
		x.leaveOut(r, fmt.Sprintf("was imported before as %s: --map says if that is the same user, --as if this is another source", st.AccountName), "")
	case st.Account != 0:
		x.account = st.Account
	case st.Reserved:
		x.leaveOut(r, fmt.Sprintf("the account %s was erased, or its name is kept from everybody", x.Name), "")
	case st.Taken != 0 && o.Existing:
		x.account, x.Existing = st.Taken, true
	case st.Taken != 0:
		x.leaveOut(r, fmt.Sprintf("there is an account %s in Postbox: --existing says that those of the same name are the same people", x.Name), fmt.Sprintf("%.60s-2", x.Name))
	}
}

func imports(some []person) []store.ImportUser {
	users := make([]store.ImportUser, len(some))
	for i := range some {
		users[i] = some[i].ImportUser
	}
	return users
}

// enroll makes the accounts that are not there.
func (p *people) enroll(ctx context.Context, db *store.Store, source string) error {
	return p.batches(func(x *person) bool { return !x.out && (x.account == 0 || x.Existing) }, func(at []int, users []store.ImportUser) error {
		ids, err := db.AddImported(ctx, source, users)
		for i, id := range ids {
			p.all[at[i]].account = id
		}
		return err
	})
}

// open gives the accounts their passwords.
func (p *people) open(ctx context.Context, db *store.Store, source string) error {
	return p.batches(func(x *person) bool { return x.account != 0 }, func(_ []int, users []store.ImportUser) error {
		return db.OpenImported(ctx, source, users)
	})
}

func (p *people) batches(want func(*person) bool, f func(at []int, users []store.ImportUser) error) error {
	var at []int
	var users []store.ImportUser
	for i := range p.all {
		if want(&p.all[i]) {
			at, users = append(at, i), append(users, p.all[i].ImportUser)
		}
		if len(at) == accountBatch || i == len(p.all)-1 && len(at) > 0 {
			if err := f(at, users); err != nil {
				return err
			}
			at, users = at[:0], users[:0]
		}
	}
	return nil
}

// accountsOf takes Postbox's own accounts for the people, where there is no list of
// users: they are named by their names.
func accountsOf(ctx context.Context, db *store.Store) (*people, error) {
	users, err := db.Users(ctx)
	if err != nil {
		return nil, err
	}
	p := newPeople()
	for _, u := range users {
		p.add(person{ImportUser: store.ImportUser{Ref: string(u.Name), Name: u.Name}, name: string(u.Name), account: u.ID})
	}
	return p, nil
}

// errBoth cannot tell how senders are named.
var errBoth = errors.New("senders and receivers could be ids as well as names: say which with --refs id or --refs name")

// detect finds out whether senders and receivers are ids or names, by looking at the
// first messages.
func (p *people) detect(ctx context.Context, t table, s selection) error {
	if !p.keyed {
		return nil
	}
	ids, names, rows := 0, 0, 0
	err := t.read(ctx, s.names(), s.at[messageID], func(row []sql.NullString) error {
		for _, f := range []int{messageSender, messageReceiver} {
			v := s.value(row, f).String
			if _, ok := p.byRef[strings.TrimSpace(v)]; ok {
				ids++
			}
			if p.byID = false; p.find(v) >= 0 {
				names++
			}
		}
		if rows++; rows == 1000 {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if ids == names && ids > 0 {
		return errBoth
	}
	p.byID = ids > names
	return nil
}
