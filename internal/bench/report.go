package bench

import (
	"fmt"
	"time"
)

// Latency is a distribution of durations in milliseconds, of the messages sent
// in the measuring window.
type Latency struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Load repeats what was asked for, so that a report stands alone.
type Load struct {
	Protocol string `json:"protocol"`
	Senders  int    `json:"senders"`
	// Window is what was used: a broker's Receive Maximum may be below what was
	// asked for.
	Window      int     `json:"window"`
	Devices     int     `json:"devices"`
	BodySize    int     `json:"body_bytes"`
	Rate        float64 `json:"rate_per_s"`
	WarmUp      float64 `json:"warm_up_s"`
	Duration    float64 `json:"duration_s"`
	Topic       string  `json:"topic"`
	Session     bool    `json:"session"`
	WithAccount bool    `json:"with_password"`
}

// Losses are the faults that the generator saw, over the whole run with warm-up
// and drain. Each is a number of messages or, behind the acknowledgements, of
// deliveries: a message that two devices miss is missing twice.
type Losses struct {
	// Missing was acknowledged with success and did not come to a device.
	Missing int `json:"missing"`
	// Repeated came to a device again.
	Repeated int `json:"repeated"`
	// Reordered came to a device after a message that was sent later.
	Reordered int `json:"reordered"`
	// Misrouted came to a device of another recipient.
	Misrouted int `json:"misrouted"`
	// Corrupt came without a readable stamp or with other bytes than were sent.
	Corrupt int `json:"corrupt"`
	// Refused was answered with a reason code of failure (MQTT 5 only).
	Refused int `json:"refused"`
	// RefusedReasons counts refusals by reason code, such as "0x97".
	RefusedReasons map[string]int `json:"refused_reasons,omitempty"`
	// Unanswered was not acknowledged by the end of the drain.
	Unanswered int `json:"unanswered"`
	// StrayAcks acknowledge nothing that was on its way.
	StrayAcks int `json:"stray_acks"`
	// Foreign came from another run; it is not an error.
	Foreign int `json:"foreign"`
	// UnevenDevices is how many devices have a fault of their own.
	UnevenDevices int `json:"devices_with_faults"`
}

// CPU is processor time in the measuring window. Per10k is seconds per 10,000
// acknowledged messages; a part that was not measured is nil.
type CPU struct {
	ServerPer10k    *float64 `json:"server_s_per_10k"`
	DatabasePer10k  *float64 `json:"database_s_per_10k"`
	GeneratorPer10k *float64 `json:"generator_s_per_10k"`
	// Generator is in cores: the generator has one thread, so it is the limit
	// of what it measures when this nears 1.
	Generator float64 `json:"generator_cores"`
	// Busy is all work on the machine, in cores; Others is the part of it that
	// was measured neither as server nor as database nor as generator (nil
	// without the server's process); Steal is what a hypervisor withheld.
	Busy   float64  `json:"machine_busy_cores"`
	Others *float64 `json:"others_cores"`
	Steal  float64  `json:"steal_cores"`
}

// Memory is the server's resident set in bytes: before the first connection,
// and the highest seen until the end of the drain.
type Memory struct {
	Idle int64 `json:"idle_bytes"`
	Peak int64 `json:"peak_bytes"`
}

// Report is the outcome of one run.
type Report struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Started time.Time `json:"started"`
	Commit  string    `json:"commit"`
	Machine Machine   `json:"machine"`
	Load    Load      `json:"load"`
	Notes   []string  `json:"notes,omitempty"`

	// Window is the measuring window as it was, in seconds; Acknowledged and
	// Delivered are what arrived in it.
	Window       float64 `json:"window_s"`
	Acknowledged int     `json:"acknowledged"`
	Delivered    int     `json:"delivered"`
	// AcknowledgedRate is messages per second; DeliveredRate is messages per
	// second that a recipient's devices got on average, so that both are equal
	// when the broker keeps up, however many devices there are.
	AcknowledgedRate float64 `json:"acknowledged_per_s"`
	DeliveredRate    float64 `json:"delivered_per_s"`
	// EachSecond is the acknowledged messages of each whole second.
	EachSecond []int `json:"acknowledged_each_second"`
	// Total is all messages sent, with warm-up; TotalAcknowledged all that were
	// acknowledged with success.
	Total             int `json:"total_sent"`
	TotalAcknowledged int `json:"total_acknowledged"`
	// Drained is how long after the last publish all was there, in seconds.
	Drained float64 `json:"drained_s"`

	Acknowledgement Latency `json:"acknowledgement"`
	EndToEnd        Latency `json:"end_to_end"`
	Losses          Losses  `json:"losses"`

	CPU      CPU             `json:"cpu"`
	Memory   *Memory         `json:"server_memory,omitempty"`
	Database *DatabaseReport `json:"database,omitempty"`
	Settling *Settling       `json:"settling,omitempty"`
}

// Faults says in sentences what makes the run a failure; none if it is good.
func (r *Report) Faults() []string {
	var faults []string
	add := func(n int, what string) {
		if n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(r.Losses.Missing, "acknowledged messages missing at a device")
	add(r.Losses.Repeated, "messages repeated at a device")
	add(r.Losses.Reordered, "messages out of order at a device")
	add(r.Losses.Misrouted, "messages at the wrong recipient")
	add(r.Losses.Corrupt, "bodies not as they were sent")
	add(r.Losses.Refused, "messages refused")
	add(r.Losses.Unanswered, "messages never acknowledged")
	add(r.Losses.StrayAcks, "acknowledgements of nothing")
	if r.Acknowledged == 0 {
		faults = append(faults, "nothing was acknowledged in the measuring window")
	}
	return faults
}

// DatabaseFaults says in sentences why the storage behind the run does not
// count as durable; none if it does or was not looked at.
func (r *Report) DatabaseFaults() []string {
	if r.Database == nil {
		return nil
	}
	return r.Database.faults(r.TotalAcknowledged, r.Load.Senders*r.Load.Window)
}
