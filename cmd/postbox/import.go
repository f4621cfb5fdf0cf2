package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // --timezone, also where the machine has no time zones
	"unicode/utf8"

	"golang.org/x/term"

	"postbox"
	"postbox/internal/importer"
)

type importCmd struct {
	From        string            `required:"" env:"POSTBOX_IMPORT_FROM" placeholder:"URL|FILE" help:"mysql://user:password@host/database (also ?socket=PATH), postgres://user:password@host/database, or a CSV file of messages."`
	Messages    string            `placeholder:"TABLE" help:"Table of messages; messages if not given."`
	Users       string            `placeholder:"TABLE|FILE" help:"Table of users; users if not given. A CSV file where --from is one. \"none\": senders and receivers are names of accounts that there are."`
	Column      map[string]string `mapsep:"," placeholder:"FIELD=COLUMN" help:"Column of a message's id, sender, receiver, body, created_at or read. An empty one: there is none."`
	UserColumn  map[string]string `mapsep:"," placeholder:"FIELD=COLUMN" help:"Column of a user's id, name, password or display_name."`
	Refs        string            `enum:"auto,id,name" default:"auto" help:"What sender and receiver hold: users' ids or names (${enum})."`
	Timezone    string            `default:"UTC" placeholder:"AREA/CITY" help:"Time zone of times that do not say theirs; ${default} if not given."`
	Read        string            `enum:"all,none" default:"all" help:"What counts as read where no column says it (${enum})."`
	ContentType string            `placeholder:"TYPE" help:"Content type of all messages, such as text/html."`
	Map         string            `type:"path" placeholder:"FILE" help:"Names that do not fit or collide: a CSV file of lines \"old name,new name\"."`
	As          string            `placeholder:"NAME" help:"What the source is called: the database and the table, or the file, if not given. A message is imported once from each."`
	DryRun      bool              `help:"Say what would be done, and do nothing."`
	SkipBad     bool              `help:"Go on without names and messages that cannot be taken."`
	Existing    bool              `help:"Users and accounts of the same name are the same people."`
	Late        bool              `help:"Put messages after younger ones of their conversation, with the time of those."`
	Deliver     bool              `help:"Send devices that there are more than a thousand messages."`
	JSON        bool              `help:"Print the outcome as one JSON object."`
}

// Help is the end of the command's --help.
func (importCmd) Help() string {
	return `Brings the users and direct messages of another application into the database of
this one; also while the server runs. All is read and judged before anything is
written. Run it again to go on after an interruption, or to take what has come since:
no message comes twice. docs/import.md has the steps.

Examples:

  postbox import --from mysql://app:secret@127.0.0.1/app --dry-run
  postbox import --from mysql://app:secret@127.0.0.1/app --timezone Europe/Berlin
  postbox import --from mysql://app:secret@127.0.0.1/app --messages pm --column sender=from_uid,body=pm_text
  postbox import --from messages.csv --users users.csv --map names.csv`
}

// options are the flags as the importer takes them.
func (c *importCmd) options(g *globals) (importer.Options, error) {
	config, err := loadConfig(g, nil)
	if err != nil {
		return importer.Options{}, err
	}
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return importer.Options{}, usageError(fmt.Sprintf("--timezone %s: there is no such time zone: write Europe/Berlin or UTC", c.Timezone))
	}
	if err := postbox.CheckContentType(c.ContentType); err != nil {
		return importer.Options{}, usageError("--content-type: " + err.Error())
	}
	return importer.Options{
		From: c.From, Messages: c.Messages, Users: c.Users, Columns: c.Column, UserColumns: c.UserColumn,
		Refs: strings.TrimPrefix(c.Refs, "auto"), Zone: zone, Read: c.Read, ContentType: c.ContentType, Map: c.Map, As: c.As,
		BodySize: int(config.Limits.BodySize), SkipBad: c.SkipBad, Existing: c.Existing, Late: c.Late, Deliver: c.Deliver,
		Progress: progress(g.Stderr),
	}, nil
}

// Run imports, or says why not.
func (c *importCmd) Run(ctx context.Context, g *globals) (err error) {
	o, err := c.options(g)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, g)
	if err != nil {
		return err
	}
	defer db.close()
	plan, err := importer.Prepare(ctx, db.Store, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	if !c.JSON {
		sayPlan(g.Stdout, &plan.Report)
	}
	obstacles := plan.Obstacles(o)
	switch {
	case c.DryRun:
	case len(obstacles) > 0:
		err = fmt.Errorf("nothing was written:\n  %s", strings.Join(obstacles, "\n  "))
	default:
		err = plan.Run(ctx)
	}
	switch {
	case c.JSON:
		text, e := encode(plan.Report)
		if e == nil {
			e = writeJSONLine(g.Stdout, text, newScreen(g).terminal)
		}
		if e != nil {
			return errors.Join(err, e)
		}
	case c.DryRun:
		for _, o := range obstacles {
			fmt.Fprintln(g.Stdout, "it would stop here:", o)
		}
		fmt.Fprintln(g.Stdout, "nothing was written")
	case err == nil:
		m := plan.Report.Messages
		fmt.Fprintf(g.Stdout, "imported %d messages in %.1f s, %d were there\n", m.New, plan.Report.Seconds, m.There)
		if m.Late > 0 {
			fmt.Fprintf(g.Stdout, "%d of them have the time of the message before them\n", m.Late)
		}
	}
	return err
}

// sayPlan writes what was found.
func sayPlan(w io.Writer, r *importer.Report) {
	a, m := r.Accounts, r.Messages
	fmt.Fprintf(w, "from %s: %d users, of whom %d are new and %d have an account\n", r.Source, a.Read, a.New, a.There)
	fmt.Fprintf(w, "%d messages: %d are new, %d are there, %d cannot be taken\n", m.Read, m.New, m.There, m.Bad)
	if m.Changed > 0 {
		fmt.Fprintf(w, "%d of those that are there say something else by now, and stay as they are; if this is not where they are from, give --as\n", m.Changed)
	}
	if m.Late > 0 {
		fmt.Fprintf(w, "%d of the new are older than the last message of their conversation\n", m.Late)
	}
	for _, n := range r.Names {
		fmt.Fprintf(w, "user %q, %q: %s", n.Ref, n.Name, n.Problem)
		// A line for the file is written as the name is, for which the terminal has
		// to leave it alone.
		if n.Suggest != "" && utf8.ValidString(n.Name) && strings.IndexFunc(n.Name, obeyed) < 0 {
			fmt.Fprintf(w, "; for --map: %s,%s", quoteCSV(n.Name), n.Suggest)
		}
		fmt.Fprintln(w)
	}
	for _, t := range r.Taken {
		fmt.Fprintf(w, "user %q, %q: is %s, who is in Postbox; if that is somebody else, give --map\n", t.Ref, t.Name, t.Account)
	}
	for _, p := range r.Rows {
		fmt.Fprintf(w, "%d messages: %s (%s", p.Count, p.Problem, strings.Join(p.First, ", "))
		if p.Count > len(p.First) {
			fmt.Fprint(w, ", …")
		}
		fmt.Fprintln(w, ")")
	}
	for _, d := range r.Devices {
		fmt.Fprintf(w, "%s has devices, which would get %d messages\n", d.User, d.Messages)
	}
	if n := len(r.WithoutPassword); n > 0 {
		fmt.Fprintf(w, "%d accounts without a password that can be used, set one with \"postbox user password\": %s\n", n, strings.Join(r.WithoutPassword, " "))
	}
}

// quoteCSV is a field of a CSV file.
func quoteCSV(s string) string {
	if strings.ContainsAny(s, ",\"\n\r") || strings.TrimSpace(s) != s || strings.HasPrefix(s, "#") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// progress tells how far an import is, on a terminal, about once a second.
func progress(w io.Writer) func(done, total int, phase string) {
	terminal, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return func(int, int, string) {}
	}
	said := saying(w)
	began, of := time.Now(), ""
	return func(done, total int, phase string) {
		if phase != of {
			began, of = time.Now(), phase
		}
		rate := float64(done) / max(time.Since(began).Seconds(), 0.001)
		if total < done {
			said("%s: %d messages, %.0f/s", phase, done, rate)
			return
		}
		left := time.Duration(float64(total-done) / max(rate, 1) * float64(time.Second))
		said("%s: %d of %d messages, %.0f/s, %s left", phase, done, total, rate, left.Round(time.Second))
	}
}
