package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/gofrs/flock"

	"postbox"
)

// errNoLogin says that nobody has logged in under the name.
var errNoLogin = errors.New("not logged in")

// savedLogin is what login keeps of one login.
type savedLogin struct {
	URL          string    `json:"url"`
	User         string    `json:"user"`
	Insecure     bool      `json:"insecure,omitempty"`
	AccessToken  string    `json:"access_token"`
	RenewAt      time.Time `json:"renew_at"` // by this machine's clock
	RefreshToken string    `json:"refresh_token"`
}

// granted is the answer of login and of refresh.
type granted struct {
	User         string `json:"user"`
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
}

// take puts new tokens in the place of the old ones. They are renewed when a
// tenth of their life is left, so that no request arrives with one that has just
// ended.
func (s *savedLogin) take(t granted, now time.Time) {
	s.User, s.AccessToken, s.RefreshToken = t.User, t.AccessToken, t.RefreshToken
	s.RenewAt = now.Add(time.Duration(t.ExpiresIn) * time.Second * 9 / 10)
}

// loginFile is where a login is kept, closed to others.
type loginFile struct{ name, path string }

var profileName = regexp.MustCompile(`^[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,63}$`)

func loginFileOf(g *globals, name string) (loginFile, error) {
	if !profileName.MatchString(name) {
		return loginFile{}, usageError(fmt.Sprintf("%.80q is no name for a login: use letters, digits and . _ @ -", name))
	}
	dir, err := g.ConfigDir()
	if err != nil {
		return loginFile{}, fmt.Errorf("find the directory for logins: %w", err)
	}
	return loginFile{name, filepath.Join(dir, "postbox", "logins", name+".json")}, nil
}

// load returns errNoLogin if there is none.
func (f loginFile) load() (savedLogin, error) {
	var saved savedLogin
	text, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return saved, errNoLogin
	case err != nil:
		return saved, fmt.Errorf("read the login: %w", err)
	}
	if err := json.Unmarshal(text, &saved); err != nil || saved.URL == "" || saved.RefreshToken == "" {
		return savedLogin{}, fmt.Errorf("%s is not a login any more: log in again", f.path)
	}
	return saved, nil
}

// save replaces the login; another process reads the old one or the new one.
func (f loginFile) save(saved savedLogin) error {
	text, err := encode(saved)
	if err != nil {
		return err
	}
	err = writeWhole(f.path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	return nil
}

// lock keeps other processes from renewing this login meanwhile: of two that spend
// one refresh token, one ends the login. The file of the lock stays, since one that
// is removed would be locked by whoever still has it open.
func (f loginFile) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return nil, fmt.Errorf("keep the login: %w", err)
	}
	l := flock.New(f.path+".lock", flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock the login: %w", err)
	}
	return func() { _ = l.Close() }, nil
}

// open speaks to the server of a login, with it.
func (f loginFile) open(saved savedLogin) *remote {
	server := newRemote(saved.URL, nil)
	return &remote{server.base, &keptLogin{file: f, saved: saved, server: server, now: time.Now}, server.http}
}

// keptLogin are credentials that login has kept.
type keptLogin struct {
	file   loginFile
	saved  savedLogin
	server *remote // without credentials
	now    func() time.Time
}

func (k *keptLogin) authorization(ctx context.Context) (string, error) {
	if !k.now().Before(k.saved.RenewAt) {
		if _, err := k.renew(ctx, k.bearer()); err != nil {
			return "", err
		}
	}
	return k.bearer(), nil
}

func (k *keptLogin) bearer() string { return "Bearer " + k.saved.AccessToken }

// renewalGrace is how long a renewal that was begun goes on when nobody waits for it
// any more.
const renewalGrace = 5 * time.Second

// renew gets new tokens, or those that another process has got meanwhile.
func (k *keptLogin) renew(ctx context.Context, refused string) (bool, error) {
	unlock, err := k.file.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	latest, err := k.file.load()
	if err != nil {
		return false, fmt.Errorf("the login %s has gone: %w", k.file.name, err)
	}
	// By now the name may be that of another login, whose tokens are not for the
	// server that is spoken to here, nor its inbox what was asked for.
	if latest.URL != k.saved.URL || latest.User != k.saved.User {
		return false, fmt.Errorf("the login %s is by now that of %s at %s, and was that of %s at %s: start again, or log in there under a name of its own, by --profile",
			k.file.name, printable(latest.User, false), latest.URL, printable(k.saved.User, false), k.saved.URL)
	}
	k.saved = latest
	if k.bearer() != refused && k.now().Before(latest.RenewAt) {
		return true, nil
	}
	// The server has spent the token by the time its answer is on the way: Ctrl-C
	// between the two would lose what comes in its place, and the login with it.
	ctx, done := outlasting(ctx, renewalGrace)
	defer done()
	var tokens granted
	request := map[string]string{"refresh_token": latest.RefreshToken}
	// Asked again, the same token is answered again.
	_, err = k.server.do(ctx, call{name: "refresh", request: request, again: true}, &tokens)
	if errors.Is(err, postbox.ErrUnauthenticated) {
		return false, fmt.Errorf("the login %s has ended: log in again (%w)", k.file.name, err)
	} else if err != nil {
		return false, err
	}
	k.saved.take(tokens, k.now())
	return true, k.file.save(k.saved)
}

// outlasting is ctx, ending by a while later.
func outlasting(ctx context.Context, grace time.Duration) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() { stop(); cancel() }
}
