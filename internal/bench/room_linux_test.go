package bench

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// What is wrong with what a room's devices get is found.
func TestRoomFaults(t *testing.T) {
	t.Parallel()
	body := func(counter uint32) string {
		b := newBody(60)
		stamp{run: 7, counter: counter}.put(b)
		return string(b)
	}
	entry := func(seq int64, counter uint32) string {
		return fmt.Sprintf(`{"inbox_seq":9,"type":"message","room":"dev","seq":%d,"sent_at":"x","body":"%s"}`, seq, body(counter))
	}
	spoilt := func(s string) string { return s[:len(s)-4] + `z"}` }
	for name, test := range map[string]struct {
		first, second []string
		want          RoomRun
	}{
		"all is there":     {[]string{entry(5, 0), entry(6, 1)}, []string{entry(5, 0), entry(6, 1)}, RoomRun{}},
		"one is missing":   {[]string{entry(5, 0), entry(6, 1)}, []string{entry(5, 0)}, RoomRun{Missing: 1}},
		"one comes again":  {[]string{entry(5, 0), entry(6, 1)}, []string{entry(5, 0), entry(5, 0), entry(6, 1)}, RoomRun{Repeated: 1}},
		"another order":    {[]string{entry(5, 0), entry(6, 1)}, []string{entry(5, 1), entry(6, 0)}, RoomRun{Disordered: 2}},
		"not as it was":    {[]string{entry(5, 0), entry(6, 1)}, []string{entry(5, 0), spoilt(entry(6, 1))}, RoomRun{Corrupt: 1}},
		"of another run's": {[]string{entry(5, 0), entry(6, 1), `{"type":"room","event":"added"}`}, []string{entry(5, 0), entry(6, 1)}, RoomRun{}},
	} {
		r := &roomRun{o: RoomOptions{Online: []string{"a", "b"}, Members: 2, BodySize: 60, Duration: time.Second}, run: 7, started: time.Now(), spread: map[roomMessage]*spread{
			{0, 1}: {}, {0, 2}: {},
		}}
		for _, payloads := range [][]string{test.first, test.second} {
			d := &roomDevice{run: r, padding: newBody(60)[MinBodySize:]}
			for _, p := range payloads {
				d.take([]byte(p))
			}
		}
		got := r.report()
		if got.Missing != test.want.Missing || got.Repeated != test.want.Repeated || got.Disordered != test.want.Disordered || got.Corrupt != test.want.Corrupt {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A device that is cut off before it has acknowledged fails a run that goes on, and not
// one that has ended.
func TestRoomDeviceCutOff(t *testing.T) {
	t.Parallel()
	packet := append([]byte{typePublish | 1<<1, 13, 0, 7}, "inbox/a\x00\x01{}"...)
	for _, ended := range []bool{true, false} {
		device, server := net.Pipe() // nobody reads what the device writes
		done := make(chan struct{})
		if ended {
			close(done)
		}
		got := make(chan error, 1)
		go func() {
			r := &roomRun{o: RoomOptions{BodySize: 60}}
			got <- r.read(0, device, packet, done)
		}()
		if err := device.SetDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		err := <-got
		if failed := err != nil && strings.Contains(err.Error(), "write"); failed == ended || ended && err != nil {
			t.Errorf("ended: %v, the device says %v", ended, err)
		}
		_, _ = device.Close(), server.Close()
	}
}

// What the rounds say is their medians, and a fault of any of them is one of all.
func TestRoomRounds(t *testing.T) {
	t.Parallel()
	r := RoomReport{Full: &RoomRun{Messages: 1}}
	for _, p99 := range [][2]float64{{9, 30}, {5, 80}, {7, 10}} {
		r.Rounds = append(r.Rounds, RoomRound{
			Alone: &Report{EndToEnd: Latency{P99: p99[0]}}, Beside: &Report{EndToEnd: Latency{P99: p99[1]}}, Paced: &RoomRun{Messages: 1},
		})
	}
	if alone, beside := r.P99(); alone != 7 || beside != 30 {
		t.Errorf("alone %v, beside %v", alone, beside)
	}
	before := len(r.Faults())
	r.Rounds[2].Paced.Missing = 2
	if got := r.Faults(); len(got) != before+1 {
		t.Errorf("two missing in a round: %q", got)
	}
	r.Full.Repeated = 1
	if got := r.Faults(); len(got) != before+2 {
		t.Errorf("one repeated at full speed: %q", got)
	}
}
