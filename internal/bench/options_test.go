package bench

import (
	"context"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Options){
		"":                            func(*Options) {},
		"no address":                  func(o *Options) { o.Address = "" },
		"protocol level 3":            func(o *Options) { o.Protocol = 3 },
		"0 senders":                   func(o *Options) { o.Senders = 0 },
		"65536 senders":               func(o *Options) { o.Senders = 1 << 16 },
		"window of 0":                 func(o *Options) { o.Window = 0 },
		"0 devices":                   func(o *Options) { o.Devices = 0 },
		"body of 39 bytes":            func(o *Options) { o.BodySize = 39 },
		"rate of -1":                  func(o *Options) { o.Rate = -1 },
		"duration of 0s":              func(o *Options) { o.Duration = 0 },
		"negative":                    func(o *Options) { o.Drain = -1 },
		"the same for all":            func(o *Options) { o.Topic = "inbox/bob" },
		"no wildcards":                func(o *Options) { o.Topic = "{recipient}/#" },
		"recipient users":             func(o *Options) { o.RecipientUser = "bob" },
		"password without user names": func(o *Options) { o.Password, o.SenderUser = "x", "" },
		"creating users": func(o *Options) {
			o.CreateUsers = func(context.Context, []string, string) error { return nil }
		},
	} {
		o := DefaultOptions()
		change(&o)
		err := o.Validate()
		if want == "" {
			if err != nil {
				t.Errorf("defaults: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestPatternsCountFromOne(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	if got := o.topicOf(0); got != "inbox/recipient1" {
		t.Errorf("first topic %q", got)
	}
	o.Topic, o.RecipientUser = "t/{n}", ""
	if got := o.topicOf(9); got != "t/10" {
		t.Errorf("tenth topic %q", got)
	}
	o.Senders, o.SenderUser, o.RecipientUser = 2, "all", "r{n}"
	if got := strings.Join(o.userNames(), " "); got != "all r1 r2" {
		t.Errorf("users %q", got)
	}
}
