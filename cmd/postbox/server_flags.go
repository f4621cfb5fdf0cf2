package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// defaultURL is where a server on this machine listens unless it is told
// otherwise.
const defaultURL = "http://127.0.0.1:8080"

// serverFlags say which server is spoken to, and with which login.
type serverFlags struct {
	URL      string `name:"url" placeholder:"URL" help:"HTTP address of the server. POSTBOX_URL, else that of the login, else http://127.0.0.1:8080."`
	Profile  string `placeholder:"NAME" help:"Name of the login. POSTBOX_PROFILE, else default."`
	Insecure bool   `help:"Send passwords and tokens in the clear, to http:// on another machine."`
}

// jsonFlag is for programs that read what a command prints.
type jsonFlag struct {
	JSON bool `help:"One JSON object per line, as the API has it."`
}

// open finds server and credentials: POSTBOX_TOKEN, or POSTBOX_USER with
// POSTBOX_PASSWORD, or what login has kept.
func (f serverFlags) open(g *globals) (*remote, error) {
	user, password, token := g.Env("POSTBOX_USER"), g.Env("POSTBOX_PASSWORD"), g.Env("POSTBOX_TOKEN")
	kept, err := f.kept(g)
	var saved savedLogin
	if err == nil {
		saved, err = kept.load()
	}
	// Scripts that say who they are need no login, nor a place where one could be.
	if err != nil && !errors.Is(err, errNoLogin) && token == "" && password == "" {
		return nil, err
	}
	asked := cmp.Or(f.URL, g.Env("POSTBOX_URL"))
	base, err := baseOf(cmp.Or(asked, saved.URL, defaultURL), f.Insecure || asked == "" && saved.Insecure)
	if err != nil {
		return nil, err
	}
	switch {
	case token != "":
		return newRemote(base, fixed("Bearer "+token)), nil
	case password != "" && user != "":
		return newRemote(base, fixed("Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))), nil
	case password != "":
		return nil, usageError("POSTBOX_PASSWORD is set and POSTBOX_USER is not: whose password is it?")
	case saved.RefreshToken == "":
		return nil, fmt.Errorf("%w: run \"postbox login USER\", or set POSTBOX_URL, POSTBOX_USER and POSTBOX_PASSWORD", errNoLogin)
	case user != "" && user != saved.User:
		return nil, fmt.Errorf("the login %s is that of %s, and POSTBOX_USER is %q: name another by --profile, or set POSTBOX_PASSWORD", kept.name, saved.User, user)
	case base != saved.URL:
		return nil, fmt.Errorf("the login %s is for %s, not for %s: log in there under another name, by --profile", kept.name, saved.URL, base)
	}
	return kept.open(saved), nil
}

// kept is the file of the login.
func (f serverFlags) kept(g *globals) (loginFile, error) {
	return loginFileOf(g, cmp.Or(f.Profile, g.Env("POSTBOX_PROFILE"), "default"))
}

// fixed are credentials that nothing renews.
type fixed string

func (f fixed) authorization(context.Context) (string, error) { return string(f), nil }
func (f fixed) renew(context.Context, string) (bool, error)   { return false, nil }

// baseOf checks the address of a server, and that no secret goes to it in the
// clear over a network. One without a scheme is https, on this machine http.
func baseOf(address string, insecure bool) (string, error) {
	text := address
	if !strings.Contains(text, "://") {
		scheme := "https://"
		if u, err := url.Parse("http://" + text); err == nil && loopback(u.Hostname()) {
			scheme = "http://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "":
		return "", usageError(fmt.Sprintf("%q is not the address of a server: write it as https://chat.example.org", printable(address, false)))
	case u.User != nil:
		return "", usageError("the address holds a user name: leave it out, others can see it in the list of processes")
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return "", usageError(fmt.Sprintf("http://%s would carry passwords and tokens in the clear: use https://, or give --insecure", u.Host))
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
