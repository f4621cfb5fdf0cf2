package proof

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A disk that is full is a database that is away: senders wait and none is
// refused, those who come are told "not now", and when there is room again it
// goes on by itself. The long form fills real file systems, and must be run by
// root, who may mount them.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if soak {
		t.Run("of the tables", tablesFull)
		t.Run("of the log", logFull)
		return
	}
	// As PostgreSQL says it of a full disk, and of an exceeded quota.
	d := newDisk(t, newCluster(t, "", nil), nil)
	for _, code := range []string{"53100", "XX000"} {
		mend := Fail(t, d.db, code, "messages", "inbox", "devices", "lanes")
		d.full(time.Second)
		d.refused()
		mend()
		d.again()
	}
	d.audit()
}

// disk is a server whose database runs out of room.
type disk struct {
	*outage
	fill []*Flood
}

// newDisk starts a server on a cluster, calls prepare once it has made its
// tables, and then connects everybody.
func newDisk(t *testing.T, c *cluster, prepare func(*disk)) *disk {
	t.Helper()
	d := &disk{outage: &outage{T: t, gate: StartGate(t, c.URL()), db: c.db()}}
	d.s = StartServer(t, ServerOptions{DatabaseURL: d.gate.URL})
	if prepare != nil {
		prepare(d)
	}
	d.party = newParty(t, d.s)
	d.party.libraries()
	d.party.load.start(t)
	d.party.phone.WaitFor(t, 300)
	return d
}

// full waits until nothing can be stored any more, and looks at that for a
// while.
func (d *disk) full(long time.Duration) {
	d.Helper()
	d.await("nothing can be stored", func() bool { return d.ready() == http.StatusServiceUnavailable })
	stood := d.still()
	time.Sleep(long)
	if _, now := d.party.tap.Log.Totals(); now != stood {
		d.Errorf("%d messages were acknowledged", now-stood)
	}
}

// refused checks what those are told whose session cannot be stored.
func (d *disk) refused() {
	d.Helper()
	for version, want := range map[byte]byte{4: 3, 5: 0x88} {
		if _, code, _ := DialRaw(d, d.s.MQTT, RawConnect{Version: version, ID: fmt.Sprint("new-", version), User: "carol", Password: "carol's secret", Expiry: 60}); code != want {
			d.Errorf("CONNACK 0x%02x, want 0x%02x", code, want)
		}
	}
}

// again waits until everything flows.
func (d *disk) again() {
	d.Helper()
	began := time.Now()
	_, before := d.party.tap.Log.Totals()
	d.await("it goes on", func() bool { _, now := d.party.tap.Log.Totals(); return now >= before+600 })
	d.Logf("600 more acknowledged %v after there was room again", time.Since(began).Round(time.Millisecond))
}

// audit ends the load and checks that all is there once.
func (d *disk) audit() {
	d.Helper()
	var beside []string
	for _, f := range d.fill {
		f.Calm()
		f.WaitAll(d)
		beside = append(beside, f.Name)
	}
	d.party.drain()
	d.party.audit(d.db, beside...)
}

// pour fills the disk.
func (d *disk) pour() {
	d.Helper()
	for _, user := range []string{"alice", "dave"} {
		f := NewFlood(d, d.s.MQTT, RawConnect{Version: 4, ID: "filler", User: user, Password: user + "'s secret", Clean: true}, "inbox/carol", 60_000, 0)
		f.Go()
		d.fill = append(d.fill, f)
	}
}

// tablesFull fills the file system of our tables.
func tablesFull(t *testing.T) {
	c := newCluster(t, "", nil)
	grow := mountSmall(t, filepath.Join(c.root, "small"), 64)
	t.Cleanup(c.stop) // before its file system goes
	place := filepath.Join(c.root, "small", "tables")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	c.own(place)
	d := newDisk(t, c, func(d *disk) {
		c.exec(d.db, `CREATE TABLESPACE small LOCATION '`+place+`'`)
		for _, table := range []string{"messages", "inbox", "devices"} {
			c.exec(d.db, `ALTER TABLE postbox.`+table+` SET TABLESPACE small`)
		}
		c.exec(d.db, `ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE small`)
	})
	d.pour()
	d.full(10 * time.Second)
	grow(2048)
	d.again()
	d.audit()
}

// logFull fills the file system of PostgreSQL's log, which it does not survive:
// it ends itself, and cannot start before there is room.
func logFull(t *testing.T) {
	c := newCluster(t, "", nil)
	c.stop()
	grow := mountSmall(t, filepath.Join(c.root, "small"), 96)
	if out, err := exec.Command("cp", "-a", c.data("pg_wal"), filepath.Join(c.root, "small", "pg_wal")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.RemoveAll(c.data("pg_wal")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(c.root, "small", "pg_wal"), c.data("pg_wal")); err != nil {
		t.Fatal(err)
	}
	c.start(nil)
	t.Cleanup(c.stop)
	d := newDisk(t, c, nil)
	pid := c.Pid()
	d.pour()
	d.full(20 * time.Second)
	d.refused()
	grow(8192)
	d.again()
	d.audit()
	t.Logf("postmaster %d became %d", pid, c.Pid())
}

// own gives a path to the account that the cluster runs as.
func (c *cluster) own(path string) {
	c.t.Helper()
	info, err := os.Stat(c.data(""))
	if err != nil {
		c.t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		c.t.Fatal(err)
	}
}

// mountSmall mounts a file system of so many MiB at a new directory; grow makes
// it larger. It goes with the test.
func mountSmall(t *testing.T, dir string, size int) (grow func(size int)) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Fatalf("mount a file system to be filled, as root: %v: %s", err, out)
		}
	}
	mount("-t", "tmpfs", "-o", fmt.Sprintf("mode=755,size=%dm", size), "tmpfs", dir)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return func(size int) { mount("-o", fmt.Sprintf("remount,size=%dm", size), dir) }
}
