package bench

import (
	"strings"
	"testing"
)

func TestTextHoldsTheFigures(t *testing.T) {
	t.Parallel()
	server, others := 0.2, 0.5
	r := &Report{
		Name: "postbox", Address: "127.0.0.1:1883", Commit: "c0ffee", Notes: []string{"limits.publish_rate=0"},
		Machine:          Machine{Cores: 2, CPU: "Abacus", Kernel: "6.1"},
		Load:             Load{Protocol: "3.1.1", Senders: 50, Window: 32, Devices: 2, BodySize: 100, Rate: 1000, Duration: 20, WarmUp: 2},
		Window:           20,
		Acknowledged:     1_234_567,
		AcknowledgedRate: 61728.35,
		DeliveredRate:    61727,
		EachSecond:       []int{61000, 62000},
		Acknowledgement:  Latency{P50: 1.234, P90: 12.34, P99: 123.4, P999: 999, Max: 1000},
		Losses:           Losses{Missing: 3, Refused: 2, RefusedReasons: map[string]int{"0x97": 2}},
		CPU:              CPU{ServerPer10k: &server, Others: &others, Generator: 0.95},
		Memory:           &Memory{Idle: 10 << 20, Peak: 74 << 20},
		Database:         durable(),
	}
	r.Database.Fsync = "off"
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"postbox 127.0.0.1:1883, MQTT 3.1.1", "1,000/s", "61,728/s", "1,234,567 in 20.0 s", "61000 62000",
		"p50 1.23  p90 12.3  p99 123  p99.9 999  max 1000 ms", "2 refused map[0x97:2]",
		"3 missing", "server 0.200 s, database –", "others 0.50", "10.0 MiB idle, 74.0 MiB at most",
		"2 × Abacus", "c0ffee", "limits.publish_rate=0", "busy 95 %", "2 permanent, 0 unlogged",
		"FAULT           3 acknowledged messages missing", "FAULT           fsync is off",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestThousandsAreSeparated(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 999.4: "999", 999.5: "1,000", 1e6: "1,000,000"} {
		if got := count(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
