//go:build linux

package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortRun is a load of a moment for two senders.
func shortRun(address string) Options {
	o := DefaultOptions()
	o.Address = address
	o.Senders = 2
	o.Window = 8
	o.WarmUp = 0
	o.Duration = 100 * time.Millisecond
	o.Drain = time.Second
	o.ConnectTimeout = 30 * time.Second
	return o
}

// TestEachFaultHasItsCounter shows that each wrong that a broker can do to one
// message is found, by the counter made for it and by no other.
func TestEachFaultHasItsCounter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		broker   *fakeBroker
		devices  int
		warmUp   time.Duration
		want     Losses
		wantGood bool
	}{
		"none":              {want: Losses{}, wantGood: true},
		"none in envelopes": {broker: &fakeBroker{envelope: true}, want: Losses{}, wantGood: true},
		"none with MQTT 5":  {broker: &fakeBroker{protocol: MQTT5, connack: []byte{0}, envelope: true}, want: Losses{}, wantGood: true},
		"lost":              {broker: &fakeBroker{fault: lose}, want: Losses{Missing: 1, UnevenDevices: 1}},
		"lost twice":        {broker: &fakeBroker{fault: lose}, devices: 2, want: Losses{Missing: 2, UnevenDevices: 2}},
		"lost in warm-up":   {broker: &fakeBroker{fault: lose}, warmUp: 50 * time.Millisecond, want: Losses{Missing: 1, UnevenDevices: 1}},
		"repeated":          {broker: &fakeBroker{fault: repeat}, want: Losses{Repeated: 1, UnevenDevices: 1}},
		"repeated, wrapped": {broker: &fakeBroker{fault: repeat, envelope: true}, want: Losses{Repeated: 1, UnevenDevices: 1}},
		"repeated late":     {broker: &fakeBroker{fault: repeatLate}, want: Losses{Repeated: 1, UnevenDevices: 1}},
		"out of order":      {broker: &fakeBroker{fault: swap}, want: Losses{Reordered: 1, UnevenDevices: 1}},
		"to someone else":   {broker: &fakeBroker{fault: misroute}, want: Losses{Missing: 1, Misrouted: 1, UnevenDevices: 2}},
		"a byte changed":    {broker: &fakeBroker{fault: cut}, want: Losses{Missing: 1, Corrupt: 1, UnevenDevices: 1}},
		"stamp changed":     {broker: &fakeBroker{fault: mangle}, want: Losses{Missing: 1, Corrupt: 1, UnevenDevices: 1}},
		"not acknowledged":  {broker: &fakeBroker{fault: stayMute}, want: Losses{Unanswered: 1}},
		"refused": {
			broker: &fakeBroker{fault: refuse, protocol: MQTT5, connack: []byte{0}},
			want:   Losses{Refused: 1, RefusedReasons: map[string]int{"0x97": 1}},
		},
		"acknowledged twice": {broker: &fakeBroker{fault: ackTwice}, want: Losses{StrayAcks: 1}},
		"another run's":      {broker: &fakeBroker{fault: replayOther}, want: Losses{Foreign: 1}, wantGood: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := test.broker
			if broker == nil {
				broker = new(fakeBroker)
			}
			broker.at = 3 // within the first window, so that it is always sent
			if broker.protocol == 0 {
				broker.protocol = MQTT311
			}
			o := shortRun(startFake(t, broker))
			o.Protocol = broker.protocol
			o.Devices = max(test.devices, 1)
			o.WarmUp = test.warmUp
			report, err := Send(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, report.Losses); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
			if good := len(report.Faults()) == 0; good != test.wantGood {
				t.Errorf("faults %q, want none: %t", report.Faults(), test.wantGood)
			}
		})
	}
}

func TestDevicesAcknowledgeEveryDelivery(t *testing.T) {
	t.Parallel()
	broker := &fakeBroker{protocol: MQTT311}
	o := shortRun(startFake(t, broker))
	o.Devices = 2
	report, err := Send(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	broker.listener.Close()
	broker.group.Wait() // the broker has read all, up to DISCONNECT
	acks := 0
	for _, devices := range broker.byTop {
		for _, device := range devices {
			acks += device.acks
		}
	}
	if want := 2 * report.TotalAcknowledged; acks != want || want == 0 {
		t.Errorf("devices sent %d acknowledgements for %d deliveries", acks, want)
	}
}

func TestPacedRunKeepsItsRate(t *testing.T) {
	t.Parallel()
	o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311}))
	o.Duration, o.Rate = 300*time.Millisecond, 1000
	report, err := Send(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// A machine with other work may hold the loop up at either end.
	if report.Total < 200 || report.Total > 450 {
		t.Errorf("%d messages in 300 ms at 1,000/s", report.Total)
	}
}

// TestWaitingForRoomShowsInLatencies holds up one acknowledgement: the messages
// whose time came meanwhile were late from then on, not only when they left.
func TestWaitingForRoomShowsInLatencies(t *testing.T) {
	t.Parallel()
	o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311, fault: dawdle, at: 3}))
	o.Duration, o.Rate, o.Window = 300*time.Millisecond, 1000, 1
	report, err := Send(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if l := report.Acknowledgement; l.P90 < 50 || l.Count != uint64(report.Total) {
		t.Errorf("%d messages, %v", report.Total, l)
	}
}

func TestReceiveMaximumLowersTheWindow(t *testing.T) {
	t.Parallel()
	// Reason String first, so that the property is found behind another.
	connack := []byte{3 + 1 + 2 + 2, 0x1F, 0, 2, 'o', 'k', propertyReceiveMaximum, 0, 3}
	o := shortRun(startFake(t, &fakeBroker{protocol: MQTT5, connack: connack}))
	o.Protocol = MQTT5
	report, err := Send(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Load.Window != 3 || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "Receive Maximum") {
		t.Errorf("window %d, notes %q", report.Load.Window, report.Notes)
	}
}

func TestUsersAreCreatedAndUsed(t *testing.T) {
	t.Parallel()
	broker := &fakeBroker{protocol: MQTT311}
	o := shortRun(startFake(t, broker))
	o.Password = "secret"
	var created []string
	o.CreateUsers = func(_ context.Context, names []string, password string) error {
		if password != "secret" {
			return errors.New("another password")
		}
		created = names
		return nil
	}
	if _, err := Send(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := []string{"sender1", "recipient1", "sender2", "recipient2"}
	if diff := cmp.Diff(want, created); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	broker.mu.Lock()
	defer broker.mu.Unlock()
	for _, name := range want {
		if broker.users[name] != "secret" {
			t.Errorf("%s connected with password %q", name, broker.users[name])
		}
	}
}

func TestBrokenRunIsAnError(t *testing.T) {
	t.Parallel()
	t.Run("closed connection", func(t *testing.T) {
		t.Parallel()
		o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311, fault: hangUp, at: 10}))
		_, err := Send(t.Context(), o)
		if !errors.Is(err, errClosed) || !strings.Contains(err.Error(), "sender1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		broker := &fakeBroker{protocol: MQTT311}
		o := shortRun(startFake(t, broker))
		broker.listener.Close()
		if _, err := Send(t.Context(), o); err == nil || !strings.Contains(err.Error(), o.Address) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("context ends", func(t *testing.T) {
		t.Parallel()
		o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311}))
		o.Duration = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := Send(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no such server process", func(t *testing.T) {
		t.Parallel()
		o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311}))
		o.ServerPID = 1 << 30
		if _, err := Send(t.Context(), o); err == nil {
			t.Error("a run with an unknown server process")
		}
	})
}

// putsOff is a database in which something is done after a run.
type putsOff struct {
	report *DatabaseReport
	took   time.Duration
	err    error
}

func (l *putsOff) Begin(context.Context) error                       { return nil }
func (l *putsOff) End(context.Context, int) (*DatabaseReport, error) { return l.report, nil }
func (l *putsOff) Settle(context.Context) error {
	for began := time.Now(); time.Since(began) < l.took; { // which takes processor time
	}
	return l.err
}

// What a broker has put off is waited for, and told.
func TestWaitsForWhatWasPutOff(t *testing.T) {
	t.Parallel()
	o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311}))
	o.ServerPID, o.DatabasePID = os.Getpid(), os.Getpid()
	l := &putsOff{report: &DatabaseReport{Version: "PostgreSQL 1"}, took: 200 * time.Millisecond}
	o.Database = l
	report, err := Send(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Settling; report.Database != l.report || s == nil || s.Seconds < l.took.Seconds() || *s.ServerPer10k <= 0 || *s.DatabasePer10k <= 0 {
		t.Errorf("database %+v, afterwards %+v", report.Database, report.Settling)
	}
	l.err = errors.New("it never ends")
	o.Address = startFake(t, &fakeBroker{protocol: MQTT311})
	if _, err := Send(t.Context(), o); !errors.Is(err, l.err) {
		t.Errorf("what does not come to its end: %v", err)
	}
}

func TestMeasuresProcesses(t *testing.T) {
	t.Parallel()
	o := shortRun(startFake(t, &fakeBroker{protocol: MQTT311}))
	o.Duration = 300 * time.Millisecond
	o.ServerPID, o.DatabasePID = os.Getpid(), os.Getpid() // the fake runs here
	report, err := Send(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := report.CPU
	if c.ServerPer10k == nil || *c.ServerPer10k <= 0 || *c.DatabasePer10k <= 0 || *c.GeneratorPer10k <= 0 || c.Busy <= 0 {
		t.Errorf("cpu %+v", c)
	}
	if report.Memory == nil || report.Memory.Idle < 1<<20 || report.Memory.Peak < report.Memory.Idle {
		t.Errorf("memory %+v", report.Memory)
	}
	if report.Acknowledgement.Count == 0 || report.Acknowledgement.P50 > report.Acknowledgement.Max {
		t.Errorf("latency %+v", report.Acknowledgement)
	}
}
