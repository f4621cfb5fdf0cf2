package broker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
)

// exercised is a scrape of a server that has done a little of everything, so
// that every metric is in it.
func exercised(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	w := sharedWorld(t)
	alice := w.user("alice")
	w.connect(t, login{user: alice, id: "phone"}).say("inbox/"+alice, "x")
	w.scrape(t) // a request
	return w.scrape(t)
}

// labelsOf are the labels of a family but for a histogram's own.
func labelsOf(f *dto.MetricFamily) (names []string) {
	for _, l := range f.GetMetric()[0].GetLabel() {
		names = append(names, l.GetName())
	}
	slices.Sort(names)
	return names
}

// The table of docs/operations.md is what a server exposes.
func TestMetricsAreDocumented(t *testing.T) {
	families := exercised(t)
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `postbox_.*$").FindAllString(string(text), -1) {
		documented[row] = true
	}
	var missing []string
	for name, f := range families {
		if !strings.HasPrefix(name, "postbox_") {
			continue
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |", name, strings.ToLower(f.GetType().String()), strings.Join(labelsOf(f), ", "), f.GetHelp())
		if !documented[row] {
			missing = append(missing, row)
		}
		delete(documented, row)
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("docs/operations.md has no such rows:\n%s", strings.Join(missing, "\n"))
	}
	for row := range documented {
		t.Errorf("docs/operations.md has a row of what is not there: %s", row)
	}
}

// checkExpression parses an expression and looks every metric and label in it up
// in a scrape.
func checkExpression(t *testing.T, place, expression string, families map[string]*dto.MetricFamily) (metrics int) {
	t.Helper()
	for variable, example := range map[string]string{"$__rate_interval": "5m", "$instance": ".*"} {
		expression = strings.ReplaceAll(expression, variable, example)
	}
	parsed, err := metricsql.Parse(expression)
	if err != nil {
		t.Errorf("%s: %v", place, err)
		return 0
	}
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		selector, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, filters := range selector.LabelFilterss {
			name, labels := "", []string{}
			for _, f := range filters {
				switch f.Label {
				case "__name__":
					name = f.Value
				case "instance", "job": // Prometheus's own
				default:
					labels = append(labels, f.Label)
				}
			}
			metrics++
			if name == "up" {
				continue // Prometheus's own
			}
			family := families[name]
			if family == nil {
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					base := strings.TrimSuffix(name, suffix)
					if f := families[base]; base != name && f.GetType() == dto.MetricType_HISTOGRAM {
						family = f
					}
				}
			}
			if family == nil {
				t.Errorf("%s: there is no metric %q", place, name)
				continue
			}
			for _, label := range labels {
				if !slices.Contains(labelsOf(family), label) {
					t.Errorf("%s: %s has no label %q", place, name, label)
				}
			}
		}
	})
	if metrics == 0 {
		t.Errorf("%s: %q asks for no metric", place, expression)
	}
	return metrics
}

// dashboard is what Grafana reads of a dashboard, as far as it matters here.
type dashboard struct {
	Title         string
	UID           string
	SchemaVersion int
	Panels        []panel
}

type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ H, W, X, Y int }
	Targets []struct{ Expr, RefID string }
}

// The dashboard shows what exists.
func TestDashboard(t *testing.T) {
	families := exercised(t)
	text, err := os.ReadFile("../configs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 {
		t.Errorf("title %q, uid %q, schema version %d", d.Title, d.UID, d.SchemaVersion)
	}
	expressions, ids, taken := 0, map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || p.GridPos.W <= 0 || p.GridPos.H <= 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: its title, id or place", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panels %q and %q lie on each other", other, p.Title)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			expressions += checkExpression(t, "panel "+p.Title, target.Expr, families)
		}
	}
	if expressions < 20 {
		t.Errorf("only %d metrics are shown", expressions)
	}
}

// The alerts ask for what exists, and say what to do.
func TestAlerts(t *testing.T) {
	families := exercised(t)
	text, err := os.ReadFile("../configs/prometheus-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			checkExpression(t, "alert "+r.Alert, r.Expr, families)
			if rules[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %q: its name, severity, summary or description", r.Alert)
			}
			if _, err := time.ParseDuration(r.For); err != nil && r.For != "" {
				t.Errorf("alert %s: for: %v", r.Alert, err)
			}
			rules[r.Alert] = true
		}
	}
	if len(rules) < 5 {
		t.Errorf("only %d alerts", len(rules))
	}
}
