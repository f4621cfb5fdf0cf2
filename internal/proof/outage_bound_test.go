package proof

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// PostgreSQL is away for longer than the bound. All connections are then
// closed, those too that only listen, and new ones are refused with "not now".
// When it is back everything flows by itself, and nothing is lost or doubled.
func TestDatabaseAwayPastTheBound(t *testing.T) {
	t.Parallel()
	bound, env := 3*time.Second, []string{"POSTBOX_OUTAGE_TIMEOUT=3s"}
	if soak {
		bound, env = 5*time.Minute, nil // the default
	}
	for _, test := range []struct {
		name  string
		query string
		begin func(*outage)
		end   func(*outage)
	}{
		{"connections refused", "", func(o *outage) { o.gate.Close() }, func(o *outage) { o.gate.Open() }},
		{"packets swallowed", "&statement_timeout=4000", func(o *outage) { o.gate.Silence() }, func(o *outage) { o.gate.Open() }},
	} {
		if test.query != "" && !soak {
			continue // it takes a minute
		}
		t.Run(test.name, func(t *testing.T) {
			o := newOutage(t, test.query, env...)
			listens := map[byte]*Raw{}
			for _, version := range []byte{4, 5} {
				r, code, _ := DialRaw(t, o.s.MQTT, RawConnect{Version: version, ID: fmt.Sprint("listens-", version), User: "carol", Password: "carol's secret", Clean: true, KeepAlive: 3000})
				if code != 0 {
					t.Fatalf("CONNACK %d", code)
				}
				listens[version] = r
			}

			// Nobody publishes yet: the server must notice by itself.
			began := time.Now()
			test.begin(o)
			for version, r := range listens {
				took, reason := r.WaitEnd(bound + patience)
				if want := map[byte]byte{4: 0, 5: 0x89}[version]; reason != want {
					t.Errorf("version %d: ended with reason 0x%02x, want 0x%02x", version, reason, want)
				}
				if since := time.Since(began); since < bound {
					t.Errorf("version %d: ended after %v (it took %v), want at least %v", version, since, took, bound)
				}
			}
			t.Logf("connections that only listen were closed %v after the database went", time.Since(began).Round(time.Millisecond))
			o.refusals()
			test.end(o)
			o.await("the database is back", func() bool { return o.ready() == http.StatusOK })

			// And now under load.
			o.party.load.start(t)
			o.party.phone.WaitFor(t, 300)
			began = time.Now()
			test.begin(o)
			clients := o.party.clients
			o.await("all connections are closed", func() bool { return !slices.ContainsFunc(clients, (*Client).Up) })
			if since := time.Since(began); since < bound {
				t.Errorf("connections were closed after %v, want at least %v", since, bound)
			}
			waiting := len(o.party.tap.Log.Unanswered(time.Now(), time.Now()))
			o.refusals()
			time.Sleep(bound / 2)
			test.end(o)
			ended := time.Now()
			o.party.phone.WaitFor(t, o.party.phone.Last()+int64(waiting)+300)
			t.Logf("%d messages were waiting; %d more delivered %v after the end", waiting, waiting+300, time.Since(ended).Round(time.Millisecond))
			o.party.drain()
			o.party.audit(o.db)
		})
	}
}

// await waits until a condition holds.
func (o *outage) await(what string, cond func() bool) {
	o.Helper()
	limit := 2 * patience
	if soak {
		limit += 5 * time.Minute
	}
	for end := time.Now().Add(limit); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			o.Fatalf("waited %v until %s", limit, what)
		}
	}
}
