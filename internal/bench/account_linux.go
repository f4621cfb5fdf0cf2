package bench

import (
	"fmt"
	"time"
)

// report draws up the account of a run that came to its end.
func (r *run) report(started time.Time) *Report {
	o := &r.options
	rep := &Report{
		Name:    o.Name,
		Address: o.Address,
		Started: started.UTC(),
		Commit:  o.Commit,
		Machine: ThisMachine(),
		Load: Load{
			Protocol:    o.Protocol.String(),
			Senders:     o.Senders,
			Window:      r.window,
			Devices:     o.Devices,
			BodySize:    o.BodySize,
			Rate:        o.Rate,
			WarmUp:      o.WarmUp.Seconds(),
			Duration:    o.Duration.Seconds(),
			Topic:       o.Topic,
			Session:     o.Session,
			WithAccount: o.Password != "" || o.Passwords != nil,
		},
		Notes:        r.notes,
		Window:       r.stages.measured.Seconds(),
		Acknowledged: r.tally.acknowledged,
		Delivered:    r.tally.delivered,
		EachSecond:   r.stages.eachSecond,
		Drained:      r.stages.drained.Seconds(),

		Acknowledgement: r.tally.acknowledgement.latency(),
		EndToEnd:        r.tally.endToEnd.latency(),
		Losses:          r.losses(),

		CPU:    r.meter.cpu(r.stages.measured, r.tally.acknowledged),
		Memory: r.meter.peakMemory(),
	}
	if rep.Commit == "" {
		rep.Commit = buildCommit()
	}
	rep.AcknowledgedRate = float64(rep.Acknowledged) / rep.Window
	rep.DeliveredRate = float64(rep.Delivered) / rep.Window / float64(o.Devices)
	for _, s := range r.senders {
		rep.Total += int(s.next)
		rep.TotalAcknowledged += s.succeeded
	}
	return rep
}

// losses adds up what senders and devices have found.
func (r *run) losses() Losses {
	var l Losses
	for _, s := range r.senders {
		l.Refused += s.refused
		l.Unanswered += s.onWay
		l.StrayAcks += s.stray
	}
	for reason, n := range r.tally.refused {
		if n > 0 {
			if l.RefusedReasons == nil {
				l.RefusedReasons = map[string]int{}
			}
			l.RefusedReasons[fmt.Sprintf("0x%02X", reason)] = n
		}
	}
	for _, d := range r.devices {
		missing := d.missing()
		l.Missing += missing
		l.Repeated += d.stream.repeated
		l.Reordered += d.stream.reordered
		l.Misrouted += d.stream.misrouted
		l.Corrupt += d.stream.corrupt
		l.Foreign += d.stream.foreign
		if missing+d.stream.repeated+d.stream.reordered+d.stream.misrouted+d.stream.corrupt > 0 {
			l.UnevenDevices++
		}
	}
	return l
}
