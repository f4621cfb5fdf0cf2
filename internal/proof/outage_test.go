package proof

import (
	"testing"
	"time"
)

// PostgreSQL is away for a while under load, in each of the ways in which it
// can be. Nothing is acknowledged meanwhile, the server stays small whatever is
// pushed at it, those who keep to their window are answered, those who come
// back are never told that their password is wrong, and everything flows again
// by itself.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	const flat = 64 << 20 // bytes between the peak and idle
	for _, test := range []struct {
		name  string
		away  time.Duration // in CI
		query string        // for the database's URL
		begin func(*outage)
		end   func(*outage)
	}{
		{"connections refused", 15 * time.Second, "", func(o *outage) { o.gate.Close() }, func(o *outage) { o.gate.Open() }},
		// Who waits for an answer that does not come gives up later than
		// PostgreSQL itself would.
		{"packets swallowed", 6 * time.Second, "&statement_timeout=4000", func(o *outage) { o.gate.Silence() }, func(o *outage) { o.gate.Open() }},
		{"up and failing", 6 * time.Second, "", func(o *outage) { o.mend = Fail(o, o.db, "53100", "messages", "devices", "lanes") }, func(o *outage) { o.mend() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOutage(t, test.query)
			o.party.load.start(t)
			o.party.phone.WaitFor(t, 300)
			o.gather()
			// With everybody there: what their passwords take is no part of what
			// an outage does.
			idle, _ := Resident(t, o.s.PID())
			ResetPeak(t, o.s.PID())

			test.begin(o)
			began := time.Now()
			before := o.still()
			o.push()
			away := test.away
			if soak {
				away = time.Minute
			}
			o.suffer(began.Add(away))
			if _, now := o.party.tap.Log.Totals(); now != before {
				t.Errorf("%d messages were acknowledged while the database was away", now-before)
			}
			waiting := len(o.party.tap.Log.Unanswered(time.Now(), time.Now()))
			if waiting < 200 {
				t.Errorf("%d messages were waiting, want at least 200: it is not the load this test is about", waiting)
			}

			for _, f := range append(o.floods, o.greedy) {
				f.Calm()
			}
			pinged := make(chan struct{})
			go func() {
				defer close(pinged)
				keepAlive(o.window)
			}()
			t.Cleanup(func() {
				o.window.conn.Close()
				<-pinged
			})
			test.end(o)
			ended := time.Now()
			o.party.phone.WaitFor(t, o.party.phone.Last()+300)
			t.Logf("away for %v with %d messages waiting; 300 more delivered %v later",
				ended.Sub(began).Round(time.Second), waiting, time.Since(ended).Round(time.Millisecond))
			o.recover()
			_, peak := Resident(t, o.s.PID())
			t.Logf("memory idle %d MiB, peak %d MiB", idle>>20, peak>>20)
			if peak-idle >= flat {
				t.Errorf("memory grew by %d MiB, want less than %d", (peak-idle)>>20, flat>>20)
			}
			o.party.drain()
			o.party.audit(o.db, o.beside()...)
			o.once()
			o.alone()
		})
	}
}
