package proof

import (
	"database/sql"
	"fmt"
	"net/url"
	"testing"
	"time"

	"postbox/internal/pgtest"
)

// A server whose PostgreSQL says nothing any more ends in time and without a
// failure, whatever its devices have with it: it tells them, acknowledges
// nothing that is not stored, and what it could not note is made good when it
// starts again.
func TestStopWhileTheDatabaseIsSilent(t *testing.T) {
	t.Parallel()
	cluster := pgtest.NewCluster(t)
	admin, err := sql.Open("postgres", cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	stopSilent(t, cluster.URL(), admin)
}

// stopSilent goes through its cases one after another: between the arrival of the
// devices and the silence no other test may have its turn.
func stopSilent(t *testing.T, database string, admin *sql.DB) {
	for i, test := range []struct {
		name   string
		silent time.Duration // before SIGTERM
		delay  uint32        // of the wills, in seconds; with none there are no wills
		will   bool
		sends  bool // publishes wait for the database
		gone   bool // the devices went before the database did
		ci     bool
	}{
		{name: "sessions, at once", ci: true},
		{name: "sessions, known to be away", silent: 7 * time.Second},
		{name: "wills, at once", will: true, ci: true},
		{name: "delayed wills, at once", will: true, delay: 60},
		{name: "delayed wills, 3 s later", will: true, delay: 60, silent: 3 * time.Second, ci: true},
		{name: "publishes, at once", sends: true, ci: true},
		{name: "nobody, 3 s later", gone: true, silent: 3 * time.Second, ci: true},
		{name: "publishes, delayed wills, 3 s later", will: true, delay: 60, sends: true, silent: 3 * time.Second},
	} {
		if !soak && !test.ci {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprint("stop_", i)
			if _, err := admin.Exec(`CREATE DATABASE ` + name); err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(database)
			if err != nil {
				t.Fatal(err)
			}
			u.Path = "/" + name
			db, err := sql.Open("postgres", u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			gate := StartGate(t, u.String())
			s := StartServer(t, ServerOptions{DatabaseURL: gate.URL})
			s.AddUser("alice", "alice's secret")
			var devices []*Raw
			for n := range 5 {
				o := RawConnect{Version: 5, ID: fmt.Sprint("device-", n), User: "alice", Password: "alice's secret", Expiry: 3600}
				if test.will {
					o.WillTopic, o.WillBody, o.WillDelay = "inbox/alice", fmt.Sprint("will ", n), test.delay
				}
				r, code, _ := DialRaw(t, s.MQTT, o)
				if code != 0 {
					t.Fatalf("CONNACK 0x%02x", code)
				}
				r.Subscribe("inbox/alice")
				devices = append(devices, r)
			}
			if test.gone {
				for _, r := range devices {
					r.conn.Close()
				}
				devices = nil
				awaitQuery(t, db, "devices that have gone", `SELECT count(*) = 5 FROM postbox.devices WHERE disconnected_at IS NOT NULL`)
			}
			gate.Silence()
			if test.sends {
				for _, r := range devices {
					r.Send("inbox/alice", "not stored")
				}
			}
			time.Sleep(test.silent)

			began := time.Now()
			s.Stop()
			t.Logf("it took %v", time.Since(began).Round(time.Millisecond))
			for _, r := range devices {
				if acked, reason := r.lastWords(); acked || reason != 0x8b {
					t.Errorf("device: acknowledged %v, DISCONNECT with 0x%02x, want false and 0x8b", acked, reason)
				}
			}

			gate.Open()
			s.Restart()
			if test.will {
				awaitQuery(t, db, "the wills are due or sent",
					`SELECT (SELECT count(*) FROM postbox.wills WHERE due_at IS NOT NULL) + (SELECT count(*) FROM postbox.messages) = 5`)
			}
			if n, err := Committed(db); err != nil || !test.will && n != 0 {
				t.Errorf("%d messages, %v, want none", n, err)
			}
		})
	}
}

// lastWords reads to the end of the connection: whether a PUBACK came, and the
// reason of the DISCONNECT.
func (r *Raw) lastWords() (acked bool, reason byte) {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := readFrame(r.in)
		if err != nil {
			return acked, reason
		}
		switch {
		case f.kind() == typePuback:
			acked = true
		case f.kind() == typeDisconnect && len(f.body) > 0:
			reason = f.body[0]
		}
	}
}
