package importer

import (
	"fmt"
	"slices"
)

// Report is what an import would do, or has done.
type Report struct {
	Source   string        `json:"source"`
	Accounts AccountReport `json:"accounts"`
	Messages MessageReport `json:"messages"`
	Names    []NameProblem `json:"names,omitempty"` // all that do not fit or collide
	// Taken are accounts that Existing gives to users who are written otherwise: all of
	// them, since they may be other people.
	Taken   []TakenAccount `json:"taken,omitempty"`
	Rows    []RowProblem   `json:"rows,omitempty"` // by reason
	Devices []DeviceReport `json:"devices,omitempty"`
	// WithoutPassword are accounts whose users have no password, or one in a form
	// that cannot be used: all of them.
	WithoutPassword []string `json:"without_password,omitempty"`
	Done            bool     `json:"done"`
	Seconds         float64  `json:"seconds,omitempty"` // of writing messages
}

// AccountReport counts accounts.
type AccountReport struct {
	Read  int `json:"read"`
	New   int `json:"new"`
	There int `json:"there"` // from an earlier import, or taken by Existing
}

// MessageReport counts messages. New, There, Changed and Late are of the plan until
// the import is done; then they are what was.
type MessageReport struct {
	Read    int `json:"read"`
	New     int `json:"new"`
	There   int `json:"there"`   // from an earlier import
	Changed int `json:"changed"` // of those: with other content, which is not taken
	Late    int `json:"late"`    // of the new: older than the last message of their conversation
	Bad     int `json:"bad"`
}

// NameProblem is a user who can have no account under their name.
type NameProblem struct {
	Ref     string `json:"id"`
	Name    string `json:"name"`
	Problem string `json:"problem"`
	Suggest string `json:"suggest,omitempty"` // a name that would do
}

// TakenAccount is an account that was there, and whose it is said to be.
type TakenAccount struct {
	Ref     string `json:"id"`
	Name    string `json:"name"` // there
	Account string `json:"account"`
}

// RowProblem is why messages cannot be taken.
type RowProblem struct {
	Problem string   `json:"problem"`
	Count   int      `json:"count"`
	First   []string `json:"first"` // names of the first few
}

// DeviceReport is an account that has devices already, and what they would get.
type DeviceReport struct {
	User     string `json:"user"`
	Messages int    `json:"messages"`
}

// firstFew is how many rows of a problem are named.
const firstFew = 5

// bad notes a row that cannot be taken.
func (r *Report) bad(problem, row string) {
	r.Messages.Bad++
	i := slices.IndexFunc(r.Rows, func(p RowProblem) bool { return p.Problem == problem })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, RowProblem{Problem: problem})
	}
	p := &r.Rows[i]
	if p.Count++; len(p.First) < firstFew {
		p.First = append(p.First, row)
	}
}

// Obstacles are why the import does not begin, and what would let it. None: it
// does.
func (r *Report) Obstacles(o Options) []string {
	var all []string
	if n := len(r.Names); n > 0 && !o.SkipBad {
		all = append(all, fmt.Sprintf("%d users can have no account under their name: give --map, or --skip-bad to go on without them", n))
	}
	if n := r.Messages.Bad; n > 0 && !o.SkipBad {
		all = append(all, fmt.Sprintf("%d messages cannot be taken: mend them, or give --skip-bad to go on without them", n))
	}
	if n := r.Messages.Late; n > 0 && !o.Late {
		all = append(all, fmt.Sprintf("%d messages are older than the last one of their conversation in Postbox: with --late they come after it and take its time", n))
	}
	if n := len(r.Devices); n > 0 && !o.Deliver {
		all = append(all, fmt.Sprintf("%d accounts have devices that would get more than %d messages: give --deliver if they shall", n, o.mostDelivered()))
	}
	return all
}
