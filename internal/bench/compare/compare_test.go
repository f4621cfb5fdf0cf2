package compare

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox/internal/bench"
)

// replay is a Send that gives each broker its figures in turn.
type replay struct {
	rates map[string][]float64
	order []string
	// created counts the runs that were to create users.
	created int
}

func (r *replay) send(_ context.Context, o bench.Options) (*bench.Report, error) {
	r.order = append(r.order, o.Name)
	if o.CreateUsers != nil {
		r.created++
	}
	rates := r.rates[o.Name]
	if len(rates) == 0 {
		return nil, errors.New("went away")
	}
	r.rates[o.Name] = rates[1:]
	cpu := 0.25
	return &bench.Report{
		Name: o.Name, Commit: "c0ffee", Acknowledged: 1,
		AcknowledgedRate: rates[0], DeliveredRate: rates[0] / 2,
		CPU: bench.CPU{ServerPer10k: &cpu},
	}, nil
}

func plan(r *replay, names ...string) Plan {
	p := Plan{Rounds: 3, Send: r.send}
	for _, name := range names {
		p.Targets = append(p.Targets, bench.Options{
			Name:        name,
			CreateUsers: func(context.Context, []string, string) error { return nil },
		})
	}
	return p
}

func TestMedianOfRatiosNotRatioOfMedians(t *testing.T) {
	t.Parallel()
	r := &replay{rates: map[string][]float64{
		"ours":   {100, 300, 400},
		"theirs": {200, 200, 100},
		"third":  {100, 100, 0},
	}}
	got, err := plan(r, "ours", "theirs", "third").Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Ratio{
		{Against: "theirs", Acknowledged: 1.5, Delivered: 1.5, AcknowledgedEach: []float64{0.5, 1.5, 4}, DeliveredEach: []float64{0.5, 1.5, 4}},
		{Against: "third", Acknowledged: 1, Delivered: 1, AcknowledgedEach: []float64{1, 3, 0}, DeliveredEach: []float64{1, 3, 0}},
	}
	if diff := cmp.Diff(want, got.Ratios); diff != "" {
		t.Errorf("ratios (-want +got):\n%s", diff)
	}
	if m := got.Medians[0]; m.Acknowledged != 300 || m.Delivered != 150 || *m.ServerCPU != 0.25 || m.DatabaseCPU != nil {
		t.Errorf("median %+v", m)
	}
	if got.Commit != "c0ffee" || len(got.Runs) != 9 {
		t.Errorf("commit %s, %d runs", got.Commit, len(got.Runs))
	}
}

func TestBrokersTakeTurnsAndRoundsBeginWithAnother(t *testing.T) {
	t.Parallel()
	r := &replay{rates: map[string][]float64{"a": {1, 1, 1}, "b": {1, 1, 1}}}
	if _, err := plan(r, "a", "b").Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.order, ""); got != "abbaab" {
		t.Errorf("order %s", got)
	}
	if r.created != 2 {
		t.Errorf("users created %d times, want once per broker", r.created)
	}
}

func TestFailedRunNamesRoundAndBroker(t *testing.T) {
	t.Parallel()
	r := &replay{rates: map[string][]float64{"a": {1, 1, 1}, "b": {1}}}
	_, err := plan(r, "a", "b").Do(t.Context())
	if err == nil || err.Error() != "round 2, b: went away" {
		t.Errorf("got %v", err)
	}
	if _, err := (Plan{}).Do(t.Context()); err == nil {
		t.Error("an empty plan was carried out")
	}
}

func TestTextAndJSONHoldEveryFigure(t *testing.T) {
	t.Parallel()
	r := &replay{rates: map[string][]float64{"ours": {101, 102, 103}, "theirs": {201, 202, 203}}}
	p := plan(r, "ours", "theirs")
	inner := p.Send
	p.Send = func(ctx context.Context, o bench.Options) (*bench.Report, error) {
		report, err := inner(ctx, o)
		if err == nil && report.AcknowledgedRate == 102 {
			report.Losses.Missing = 7
		}
		if err == nil && report.AcknowledgedRate == 103 {
			report.Notes = []string{"a limit is off"}
			report.Database = &bench.DatabaseReport{Fsync: "on", DataFileSystem: "ext4"}
		}
		return report, err
	}
	result, err := p.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := result.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		" 101 ", " 102 ", " 103 ", " 201 ", " 202 ", " 203 ", "median",
		"ours against theirs: acknowledged 0.50 (0.50 0.50 0.51)",
		"note: a limit is off", "fsync on", "data on ext4",
		"FAULT ours, round 2: 7 acknowledged messages missing",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"acknowledged_each_round":[0.50`, `"name":"theirs"`, `"acknowledged_per_s":203`, `"missing":7`} {
		if !strings.Contains(string(encoded), want) {
			t.Errorf("no %s in %s", want, encoded)
		}
	}
	if len(result.Faults("ours")) != 1 || len(result.Faults("theirs")) != 0 {
		t.Errorf("faults %q and %q", result.Faults("ours"), result.Faults("theirs"))
	}
}
