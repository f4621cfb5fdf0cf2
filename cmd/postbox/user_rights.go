package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"postbox"
	"postbox/auth"
)

type userRevokeCmd struct {
	Name   string `arg:"" help:"Name of the account."`
	Device string `help:"Only this device: the MQTT client id. Its session is forgotten." placeholder:"ID"`
}

// Help is the end of the command's --help.
func (userRevokeCmd) Help() string {
	return "The password stays, and lets the user in again.\n\nExamples:\n\n  postbox user revoke alice\n  postbox user revoke alice --device phone"
}

// Run ends what lets the user in.
func (c *userRevokeCmd) Run(ctx context.Context, g *globals) error {
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		if c.Device == "" {
			if err := db.EndTokens(ctx, user); err != nil {
				return err
			}
			fmt.Fprintf(g.Stdout, "ended the tokens of %s\n", user)
			return nil
		}
		u, err := db.UserByName(ctx, user)
		if err != nil {
			return err
		}
		if err := db.RevokeDevice(ctx, u.ID, c.Device); err != nil {
			return err
		}
		fmt.Fprintf(g.Stdout, "revoked %q of %s\n", c.Device, user)
		return nil
	})
}

type userAdminCmd struct {
	Name string `arg:"" help:"Name of the account."`
	Off  bool   `help:"No more."`
}

// Help is the end of the command's --help.
func (userAdminCmd) Help() string {
	return "Examples:\n\n  postbox user admin carol\n  postbox user admin carol --off"
}

// Run gives or takes the rights of an administrator.
func (c *userAdminCmd) Run(ctx context.Context, g *globals) error {
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		if err := db.SetAdmin(ctx, user, !c.Off); err != nil {
			return err
		}
		word := "is an administrator"
		if c.Off {
			word = "is no administrator"
		}
		fmt.Fprintf(g.Stdout, "%s %s\n", user, word)
		return nil
	})
}

type userInviteCmd struct {
	Add    inviteAddCmd    `cmd:"" help:"Make an invitation, and print its code."`
	List   inviteListCmd   `cmd:"" help:"List the invitations that can still be used."`
	Remove inviteRemoveCmd `cmd:"" help:"Take an invitation back."`
}

type inviteAddCmd struct {
	Uses    int           `help:"How many accounts may be made with it." default:"1"`
	Expires time.Duration `help:"How long it can be used." default:"168h"`
	Note    string        `help:"For you to remember." placeholder:"TEXT"`
}

// Help is the end of the command's --help.
func (inviteAddCmd) Help() string {
	return "The code is shown this once. It counts where registration is \"invite\".\n\nExample:\n\n  postbox user invite add --uses 20 --expires 48h --note 'class of 2027'"
}

// Run makes the invitation and prints its code, and nothing else.
func (c *inviteAddCmd) Run(ctx context.Context, g *globals) error {
	if c.Uses < 1 || c.Uses > 10_000 || c.Expires < time.Second {
		return usageError("--uses must be between 1 and 10000, --expires at least 1s")
	}
	return withDatabase(ctx, g, func(db *database) error {
		code := auth.NewInviteCode()
		if _, err := db.AddInvite(ctx, auth.InviteHash(code), c.Note, c.Uses, c.Expires); err != nil {
			return err
		}
		fmt.Fprintln(g.Stdout, code)
		return nil
	})
}

type inviteListCmd struct {
	JSON bool `help:"One JSON object per line."`
}

// Help is the end of the command's --help.
func (inviteListCmd) Help() string {
	return "Example:\n\n  postbox user invite list"
}

// Run lists the invitations, the newest first.
func (c *inviteListCmd) Run(ctx context.Context, g *globals) error {
	return withDatabase(ctx, g, func(db *database) error {
		all, err := db.Invites(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return invitesJSON(g, all)
		}
		w := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tUSED\tEXPIRES\tNOTE")
		for _, i := range all {
			fmt.Fprintf(w, "%d\t%d of %d\t%s\t%s\n", i.ID, i.Used, i.Uses, i.Expires.UTC().Format(time.DateTime), i.Note)
		}
		return w.Flush()
	})
}

func invitesJSON(g *globals, all []postbox.Invite) error {
	lines := json.NewEncoder(g.Stdout)
	for _, i := range all {
		err := lines.Encode(struct {
			ID        int64     `json:"id"`
			Note      string    `json:"note"`
			Uses      int       `json:"uses"`
			Used      int       `json:"used"`
			CreatedAt time.Time `json:"created_at"`
			ExpiresAt time.Time `json:"expires_at"`
		}{i.ID, i.Note, i.Uses, i.Used, i.Created.UTC(), i.Expires.UTC()})
		if err != nil {
			return err
		}
	}
	return nil
}

type inviteRemoveCmd struct {
	ID int64 `arg:"" help:"Number of the invitation."`
}

// Help is the end of the command's --help.
func (inviteRemoveCmd) Help() string {
	return "Example:\n\n  postbox user invite remove 3"
}

// Run takes the invitation back.
func (c *inviteRemoveCmd) Run(ctx context.Context, g *globals) error {
	return withDatabase(ctx, g, func(db *database) error {
		if err := db.RemoveInvite(ctx, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(g.Stdout, "removed invitation %d\n", c.ID)
		return nil
	})
}

// withDatabase opens the database and runs f.
func withDatabase(ctx context.Context, g *globals, f func(*database) error) error {
	db, err := openDatabase(ctx, g)
	if err != nil {
		return err
	}
	defer db.close()
	return f(db)
}
