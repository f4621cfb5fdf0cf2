// Package compare runs the load of package bench against several brokers in
// turn and sets their figures in relation.
//
// A shared machine changes its speed from minute to minute, so a figure alone
// says little. Here the brokers take turns, each round begins with another one,
// ratios are formed within a round, and the median of them counts. All brokers
// get the same load from the same generator.
package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postbox/internal/bench"
)

// Run is one run of one broker.
type Run struct {
	Round int `json:"round"`
	*bench.Report
	// Faults is what makes its figures worthless, in sentences.
	Faults []string `json:"faults,omitempty"`
}

// Figures are what brokers are compared by.
type Figures struct {
	Acknowledged float64 `json:"acknowledged_per_s"`
	Delivered    float64 `json:"delivered_per_s"`
	AckP50       float64 `json:"ack_p50_ms"`
	AckP99       float64 `json:"ack_p99_ms"`
	EndToEndP50  float64 `json:"end_to_end_p50_ms"`
	EndToEndP99  float64 `json:"end_to_end_p99_ms"`
	// CPU is in seconds per 10,000 messages; nil where it was not measured.
	ServerCPU    *float64 `json:"server_s_per_10k"`
	DatabaseCPU  *float64 `json:"database_s_per_10k"`
	GeneratorCPU *float64 `json:"generator_s_per_10k"`
	// Others is what else the machine was busy with, in cores: the noise.
	Others *float64 `json:"others_cores"`
}

// Median is a broker's median of each figure, taken for itself.
type Median struct {
	Name string `json:"name"`
	Figures
}

// Ratio relates the first broker's speed to another one's: above 1, it is
// faster. Each has one ratio per round; the others are their medians.
type Ratio struct {
	Against          string    `json:"against"`
	Acknowledged     float64   `json:"acknowledged"`
	Delivered        float64   `json:"delivered"`
	AcknowledgedEach []float64 `json:"acknowledged_each_round"`
	DeliveredEach    []float64 `json:"delivered_each_round"`
}

// Result is a whole comparison.
type Result struct {
	Started time.Time     `json:"started"`
	Commit  string        `json:"commit"`
	Machine bench.Machine `json:"machine"`
	Load    bench.Load    `json:"load"`
	Rounds  int           `json:"rounds"`
	// Ratios are of the first broker to each other one.
	Ratios  []Ratio  `json:"ratios"`
	Medians []Median `json:"medians"`
	Runs    []Run    `json:"runs"`
}

// Plan says what to compare.
type Plan struct {
	// Targets are the brokers; the first is the one in question. Their options
	// should differ in nothing but name, address, processes, database and
	// accounts.
	Targets []bench.Options
	// Rounds is how often each takes its turn, at least 1.
	Rounds int
	// Send makes a run; nil is bench.Send.
	Send func(context.Context, bench.Options) (*bench.Report, error)
	// Done, if set, is told of each run as it ends.
	Done func(Run)
}

// Do carries the plan out. An error means that a run did not come to its end;
// what earlier runs found is lost with it, but Done has had it.
func (p Plan) Do(ctx context.Context) (*Result, error) {
	if len(p.Targets) == 0 || p.Rounds < 1 {
		return nil, errors.New("nothing to compare: give at least one broker and one round")
	}
	send := p.Send
	if send == nil {
		send = bench.Send
	}
	result := &Result{Started: time.Now().UTC(), Rounds: p.Rounds}
	for round := range p.Rounds {
		for turn := range p.Targets {
			target := p.Targets[(round+turn)%len(p.Targets)]
			if round > 0 {
				target.CreateUsers = nil // they are there since the first round
			}
			report, err := send(ctx, target)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", round+1, target.Name, err)
			}
			run := Run{Round: round + 1, Report: report, Faults: append(report.Faults(), report.DatabaseFaults()...)}
			result.Runs = append(result.Runs, run)
			if p.Done != nil {
				p.Done(run)
			}
		}
	}
	first := result.of(p.Targets[0].Name)
	result.Commit, result.Machine, result.Load = first[0].Commit, first[0].Machine, first[0].Load
	for i, target := range p.Targets {
		result.Medians = append(result.Medians, Median{target.Name, medianFigures(result.of(target.Name))})
		if i > 0 {
			result.Ratios = append(result.Ratios, ratio(target.Name, first, result.of(target.Name)))
		}
	}
	return result, nil
}

// Faults are the faults of all runs of one broker.
func (r *Result) Faults(name string) []string {
	var faults []string
	for _, run := range r.of(name) {
		for _, fault := range run.Faults {
			faults = append(faults, fmt.Sprintf("round %d: %s", run.Round, fault))
		}
	}
	return faults
}

// of gives a broker's runs in the order of the rounds.
func (r *Result) of(name string) []Run {
	var runs []Run
	for _, run := range r.Runs {
		if run.Name == name {
			runs = append(runs, run)
		}
	}
	return runs
}

// figures picks out what is compared.
func (r Run) figures() Figures {
	return Figures{
		Acknowledged: r.AcknowledgedRate,
		Delivered:    r.DeliveredRate,
		AckP50:       r.Acknowledgement.P50,
		AckP99:       r.Acknowledgement.P99,
		EndToEndP50:  r.EndToEnd.P50,
		EndToEndP99:  r.EndToEnd.P99,
		ServerCPU:    r.CPU.ServerPer10k,
		DatabaseCPU:  r.CPU.DatabasePer10k,
		GeneratorCPU: r.CPU.GeneratorPer10k,
		Others:       r.CPU.Others,
	}
}

func medianFigures(runs []Run) Figures {
	over := func(pick func(Figures) float64) float64 {
		values := make([]float64, len(runs))
		for i, run := range runs {
			values[i] = pick(run.figures())
		}
		return bench.Median(values)
	}
	overMeasured := func(pick func(Figures) *float64) *float64 {
		var values []float64
		for _, run := range runs {
			if v := pick(run.figures()); v != nil {
				values = append(values, *v)
			}
		}
		if len(values) == 0 {
			return nil
		}
		v := bench.Median(values)
		return &v
	}
	return Figures{
		Acknowledged: over(func(f Figures) float64 { return f.Acknowledged }),
		Delivered:    over(func(f Figures) float64 { return f.Delivered }),
		AckP50:       over(func(f Figures) float64 { return f.AckP50 }),
		AckP99:       over(func(f Figures) float64 { return f.AckP99 }),
		EndToEndP50:  over(func(f Figures) float64 { return f.EndToEndP50 }),
		EndToEndP99:  over(func(f Figures) float64 { return f.EndToEndP99 }),
		ServerCPU:    overMeasured(func(f Figures) *float64 { return f.ServerCPU }),
		DatabaseCPU:  overMeasured(func(f Figures) *float64 { return f.DatabaseCPU }),
		GeneratorCPU: overMeasured(func(f Figures) *float64 { return f.GeneratorCPU }),
		Others:       overMeasured(func(f Figures) *float64 { return f.Others }),
	}
}

// ratio divides round by round.
func ratio(against string, first, other []Run) Ratio {
	r := Ratio{Against: against}
	for i := range first {
		r.AcknowledgedEach = append(r.AcknowledgedEach, bench.Share(first[i].AcknowledgedRate, other[i].AcknowledgedRate))
		r.DeliveredEach = append(r.DeliveredEach, bench.Share(first[i].DeliveredRate, other[i].DeliveredRate))
	}
	r.Acknowledged, r.Delivered = bench.Median(r.AcknowledgedEach), bench.Median(r.DeliveredEach)
	return r
}
