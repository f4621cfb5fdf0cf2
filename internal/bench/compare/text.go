package compare

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

const columns = "round\tbroker\tack/s\tdelivered/s\tack p50\tp99\tend to end p50\tp99 ms\tcpu server\tdatabase\tgenerator s/10,000\tothers cores\t"

// WriteText writes all figures, the medians and the ratios as a table.
func (r *Result) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s, MQTT %s\n%d × %s, Linux %s, commit %s\n\n",
		r.Load, r.Load.Protocol, r.Machine.Cores, r.Machine.CPU, r.Machine.Kernel, r.Commit)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, columns)
	for _, run := range r.Runs {
		fmt.Fprintln(table, row(strconv.Itoa(run.Round), run.Name, run.figures()))
	}
	for _, m := range r.Medians {
		fmt.Fprintln(table, row("median", m.Name, m.Figures))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, ratio := range r.Ratios {
		fmt.Fprintf(w, "\n%s against %s: acknowledged %.2f (%s), delivered %.2f (%s)",
			r.Medians[0].Name, ratio.Against, ratio.Acknowledged, each(ratio.AcknowledgedEach), ratio.Delivered, each(ratio.DeliveredEach))
	}
	fmt.Fprintln(w)
	first := r.of(r.Medians[0].Name)
	last := first[len(first)-1]
	for _, note := range last.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	if last.Database != nil {
		for _, text := range last.Database.Lines() {
			fmt.Fprintf(w, "%s, last run: %s\n", last.Name, text)
		}
	}
	for _, run := range first {
		if run.Settling != nil {
			fmt.Fprintf(w, "%s, round %d: %s\n", run.Name, run.Round, run.Settling)
		}
	}
	for _, m := range r.Medians {
		for _, fault := range r.Faults(m.Name) {
			fmt.Fprintf(w, "FAULT %s, %s\n", m.Name, fault)
		}
	}
	return nil
}

func row(round, name string, f Figures) string {
	cells := []string{
		round, name,
		number(f.Acknowledged, 0), number(f.Delivered, 0),
		number(f.AckP50, 2), number(f.AckP99, 2), number(f.EndToEndP50, 2), number(f.EndToEndP99, 2),
		measured(f.ServerCPU), measured(f.DatabaseCPU), measured(f.GeneratorCPU), measured(f.Others),
	}
	return strings.Join(cells, "\t") + "\t"
}

func number(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }

func measured(v *float64) string {
	if v == nil {
		return "–"
	}
	return number(*v, 3)
}

func each(values []float64) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = number(v, 2)
	}
	return strings.Join(parts, " ")
}
