package proof

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbox/internal/embedpg"
	"postbox/internal/pgtest"
)

// lineage is a server behind a gate, whose database is put back to an older
// state, and everybody who follows an inbox meanwhile.
type lineage struct {
	*testing.T
	root    string
	dir     string // of the cluster
	cluster *embedpg.Server
	// clusters are all there were; stopping one again does no harm.
	clusters []*embedpg.Server
	gate     *Gate
	s        *Server
	driver   *Driver
	sender   *Client

	live   []*Follower // have sessions and stay connected
	asleep *Follower   // has a session and comes back at the end
	web    *Follower   // has no session, and says where it is
	tab    *Client     // of web
	sent   int
}

// What was restored from a dump, cloned or put back to a snapshot has another
// future than the one that devices remember: the same numbers mean other
// messages. Every follower is told before it gets one of those, and then gets
// all that is due to it; nobody skips anything silently.
func TestRestore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		running bool // the server goes on while its database is replaced
		restore func(l *lineage)
	}{
		{"dump restored elsewhere, server running", true, (*lineage).restoreElsewhere},
		{"dump restored elsewhere, server stopped", false, (*lineage).restoreElsewhere},
		{"snapshot in place, server running", true, (*lineage).rollBack},
		{"snapshot in place, server stopped, epoch new", false, func(l *lineage) {
			l.rollBack()
			if out := l.s.Command("", "epoch", "new"); out.Code != 0 {
				l.Fatalf("epoch new: %d\n%s%s", out.Code, out.Stdout, out.Stderr)
			}
		}},
		{"snapshot in place, server stopped, a client remembers", false, (*lineage).rollBack},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLineage(t)
			l.follow()
			l.send(60)
			l.await()
			l.keep()
			l.send(40) // lost
			l.await()
			lost := fmt.Sprintf("m%d", l.sent)
			if test.running {
				l.gate.Close()
			} else {
				l.s.Stop()
			}
			test.restore(l)
			if test.running {
				l.gate.Open()
			} else {
				l.s.Restart()
			}
			// The page comes back first: it may be the only one who knows.
			l.page("now")
			gap := l.web.WaitGap(t, 1)
			if gap.Code != "epoch_changed" {
				t.Errorf("the page was told %+v", gap)
			}
			l.send(30)
			l.wake()
			l.await()
			for _, f := range append(l.live, l.asleep, l.web) {
				f.Check(t, 1)
				if f.Has(lost) {
					t.Errorf("%s has %q in the new epoch, which nobody sent there", f.Name, lost)
				}
			}
		})
	}
}

// A new epoch by hand reaches a running server and everybody on it within
// moments.
func TestEpochNew(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	l.follow()
	l.send(20)
	l.await()
	for n := 1; n <= 2; n++ {
		began := time.Now()
		if out := l.s.Command("", "epoch", "new"); out.Code != 0 {
			t.Fatalf("epoch new: %d\n%s%s", out.Code, out.Stdout, out.Stderr)
		}
		for _, f := range l.live {
			if gap := f.WaitGap(t, n); gap.Code != "epoch_changed" || *gap.After != gap.Next-1 {
				t.Errorf("%s was told %+v", f.Name, gap)
			}
		}
		t.Logf("all were told %v after the command began", time.Since(began).Round(time.Millisecond))
		l.send(10)
		for _, f := range l.live {
			f.WaitFor(t, l.last())
		}
	}
	l.page("now")
	l.wake()
	l.await()
	for _, f := range append(l.live, l.web) {
		f.Check(t, 1)
	}
	l.asleep.Check(t, 1)
}

// Retention by hand passes the cursors of devices that are away: they are told
// from where on there is something.
func TestRetentionPassesCursors(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	l.follow()
	l.send(50)
	l.await()
	db := l.s.DB()
	defer db.Close()
	if _, err := db.Exec(pgtest.RemoveEntries, "bob", 45); err != nil {
		t.Fatal(err)
	}
	l.web = &Follower{Name: "bob/web"}
	late := l.library(Paho3, "web-late", l.web, "inbox/bob/since/10")
	late.Clean = true
	l.driver.Connect(late).WaitUp(t)
	l.wake()
	l.await()
	for _, f := range []*Follower{l.asleep, l.web} {
		if gap := f.WaitGap(t, 1); gap.Code != "expired" || gap.Next != 46 {
			t.Errorf("%s was told %+v, want that there is nothing before 46", f.Name, gap)
		}
		f.Check(t, 1)
	}
	for _, f := range l.live {
		f.Check(t, 0)
	}
}

func newLineage(t *testing.T) *lineage {
	t.Helper()
	// Not t.TempDir: that one is closed to the account that PostgreSQL runs as.
	root, err := os.MkdirTemp("", "postbox-lineage-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	l := &lineage{T: t, root: root}
	t.Cleanup(func() { // after the server's
		for _, c := range l.clusters {
			l.stopCluster(c)
		}
		os.RemoveAll(root)
	})
	l.start("first")
	l.gate = StartGate(t, l.cluster.URL())
	l.s = StartServer(t, ServerOptions{DatabaseURL: l.gate.URL})
	for _, user := range []string{"alice", "bob"} {
		l.s.AddUser(user, user+"'s secret")
	}
	return l
}

// start starts a cluster of its own in a directory that may exist.
func (l *lineage) start(name string) {
	l.Helper()
	l.dir = filepath.Join(l.root, name)
	cluster, err := embedpg.Start(l.Context(), embedpg.Options{Dir: l.dir, Logger: slog.New(slog.NewTextHandler(l.Output(), nil))})
	if err != nil {
		l.Fatal(err)
	}
	l.cluster = cluster
	l.clusters = append(l.clusters, cluster)
}

func (l *lineage) stopCluster(c *embedpg.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		l.Errorf("stop PostgreSQL: %v", err)
	}
}

func (l *lineage) library(library Library, id string, f *Follower, more ...string) ClientOptions {
	user, _, _ := strings.Cut(f.Name, "/")
	o := ClientOptions{
		Library: library, Version: 5, URL: "mqtt://" + l.s.MQTT, ID: id, User: user, Password: user + "'s secret",
		Expiry: 3600, OnMessage: f.Add,
	}
	for _, filter := range more {
		o.Subscribe = append(o.Subscribe, Subscription{filter, 1})
	}
	o.Subscribe = append(o.Subscribe, Subscription{"inbox/" + user, 1})
	return o
}

// follow connects everybody.
func (l *lineage) follow() {
	l.driver = StartGoDriver(l.T)
	l.sender = l.driver.Connect(ClientOptions{
		Library: Paho5, URL: "mqtt://" + l.s.MQTT, ID: "desk", User: "alice", Password: "alice's secret", Expiry: 3600,
	})
	l.sender.WaitUp(l.T)
	phone, tablet, terminal := &Follower{Name: "bob/phone"}, &Follower{Name: "bob/tablet"}, &Follower{Name: "bob/terminal"}
	l.driver.Connect(l.library(Paho5, "phone", phone)).WaitUp(l.T)
	l.driver.Connect(l.library(Paho3, "tablet", tablet)).WaitUp(l.T)
	Mosquitto{l.s.MQTT, "311", "terminal", "bob", "bob's secret"}.Subscribe(l.T, "inbox/bob", terminal.Add, "-q", "1", "-c")
	l.live = []*Follower{phone, tablet, terminal}

	l.asleep = &Follower{Name: "bob/asleep"}
	asleep := l.driver.Connect(l.library(Paho5, "asleep", l.asleep))
	asleep.WaitUp(l.T)
	l.web = &Follower{Name: "bob/web"}
	l.tab = l.driver.Connect(l.library(Paho5, "web", l.web, "inbox/bob/since/0"))
	l.tab.WaitUp(l.T)
	l.send(20)
	l.asleep.WaitFor(l.T, l.last())
	asleep.Disconnect(l.T)
}

// page is the web page loaded anew: it says where it was.
func (l *lineage) page(id string) {
	l.tab.Disconnect(l.T)
	// Paho5, which tries again when the server does not listen yet.
	o := l.library(Paho5, "web-"+id, l.web, "inbox/bob/since/"+l.web.Position())
	o.Clean, o.Expiry = true, 0
	l.driver.Connect(o).WaitUp(l.T)
}

// wake brings the device back that has slept through everything.
func (l *lineage) wake() { l.driver.Connect(l.library(Paho5, "asleep", l.asleep)).WaitUp(l.T) }

func (l *lineage) last() string { return fmt.Sprintf("m%d", l.sent) }

// send sends n messages to bob, each acknowledged. The library may not be
// connected yet: it is asked again then, with the same key.
func (l *lineage) send(n int) {
	l.Helper()
	for range n {
		l.sent++
		p := Publication{Topic: "inbox/bob/" + l.last(), QoS: 1, Body: []byte(l.last())}
		for limit := time.Now().Add(patience); l.sender.Send(l.T, p).Error != ""; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(limit) {
				l.Fatalf("%s was not acknowledged within %v", l.last(), patience)
			}
		}
	}
}

// await waits until everybody who is there has the last message.
func (l *lineage) await() {
	l.Helper()
	for _, f := range append(l.live, l.web) {
		f.WaitFor(l.T, l.last())
	}
}

// keep makes a dump and a snapshot of the database.
func (l *lineage) keep() {
	l.Helper()
	l.program("pg_dump", "--format=custom", "--file="+l.path("dump"), l.conninfo())
	// A snapshot of the file system at one moment: the cluster is stopped for it.
	l.gate.Close()
	l.stopCluster(l.cluster)
	l.run("cp", "-a", l.dir, l.path("snapshot"))
	l.start("first")
	l.gate.Lead(l.T, l.cluster.URL())
	l.gate.Open()
}

// restoreElsewhere restores the dump into another cluster.
func (l *lineage) restoreElsewhere() {
	l.Helper()
	l.start("second")
	l.program("pg_restore", "--dbname="+l.conninfo(), "--no-owner", "--exit-on-error", l.path("dump"))
	l.gate.Lead(l.T, l.cluster.URL())
}

// rollBack puts the snapshot in the place of the cluster's files.
func (l *lineage) rollBack() {
	l.Helper()
	l.gate.Close()
	l.stopCluster(l.cluster)
	if err := os.RemoveAll(l.dir); err != nil {
		l.Fatal(err)
	}
	l.run("cp", "-a", l.path("snapshot"), l.dir)
	l.start("first")
	l.gate.Lead(l.T, l.cluster.URL())
	l.gate.Open()
}

func (l *lineage) path(name string) string { return filepath.Join(l.root, name) }

// conninfo is the cluster's URL in the form that PostgreSQL's programs take.
func (l *lineage) conninfo() string {
	l.Helper()
	u, err := url.Parse(l.cluster.URL())
	if err != nil {
		l.Fatal(err)
	}
	q := u.Query()
	return fmt.Sprintf("host=%s port=%s dbname=%s user=%s", q.Get("host"), q.Get("port"), strings.Trim(u.Path, "/"), u.User.Username())
}

// program runs a program of the PostgreSQL that runs the cluster.
func (l *lineage) program(name string, args ...string) {
	l.Helper()
	postgres, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", l.cluster.Pid()))
	if err != nil {
		l.Fatal(err)
	}
	l.run(filepath.Join(filepath.Dir(postgres), name), args...)
}

func (l *lineage) run(program string, args ...string) {
	l.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		l.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}
