package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Messages to be searched are made of these: words of a made-up language, and
// characters of Chinese, of which few are frequent and most are rare, as in any
// language.
const (
	searchWords = 50_000
	searchChars = 2_000
	// chinese is how many messages in a hundred are Chinese.
	chinese = 25
)

var syllables = [...]string{"ba", "co", "di", "fu", "ge", "ha", "jo", "ki", "lu", "me", "na", "po", "ri", "su", "te", "vo", "wa", "xi", "yu", "ze"}

// SearchWord is the word of a rank, from zero, the most frequent one, to 49,999.
func SearchWord(rank int) string {
	var b strings.Builder
	for n := rank + len(syllables); n > 0; n /= len(syllables) {
		b.WriteString(syllables[n%len(syllables)])
	}
	return b.String()
}

// searchChar is the character of a rank.
func searchChar(rank int) rune { return rune(0x4e00 + rank*7%20_000) }

// SearchBody is the body of a message, which is always the same for the same place.
func SearchBody(low, high string, seq int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d", low, high, seq)
	r := rand.New(rand.NewPCG(h.Sum64(), 3))
	var b strings.Builder
	if r.IntN(100) < chinese {
		for range 4 + r.IntN(20) {
			b.WriteRune(searchChar(zipf(r, searchChars)))
		}
		return b.String()
	}
	for i := range 3 + r.IntN(16) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(SearchWord(zipf(r, searchWords)))
	}
	return b.String()
}

// zipf is a rank below n: the more, the rarer.
func zipf(r *rand.Rand, n int) int {
	return min(int(math.Pow(float64(n+1), r.Float64())), n) - 1
}

// searchKinds are what is looked for.
var searchKinds = []struct {
	name string
	text func(r *rand.Rand) string
}{
	{"frequent word", func(r *rand.Rand) string { return SearchWord(r.IntN(20)) }},
	{"usual word", func(r *rand.Rand) string { return SearchWord(500 + r.IntN(1500)) }},
	{"rare word", func(r *rand.Rand) string { return SearchWord(searchWords/2 + r.IntN(searchWords/2)) }},
	{"two words", func(r *rand.Rand) string { return SearchWord(r.IntN(100)) + " " + SearchWord(r.IntN(1000)) }},
	{"two Chinese characters", func(r *rand.Rand) string {
		return string([]rune{searchChar(zipf(r, 200)), searchChar(zipf(r, 200))})
	}},
	{"one Chinese character", func(r *rand.Rand) string { return string(searchChar(zipf(r, searchChars))) }},
	{"beginning of a word", func(r *rand.Rand) string { w := SearchWord(2000 + r.IntN(20_000)); return w[:len(w)-1] + "*" }},
}

// SearchOptions say where to search.
type SearchOptions struct {
	Address  string // host:port of the HTTP API
	Shelves  []Shelf
	Limit    int // messages of a page
	WarmUp   int // searches before each run
	Searches int // of each run
	Processes
}

// SearchRun is the outcome of searches of one kind.
type SearchRun struct {
	Kind    string  `json:"kind"`
	Where   string  `json:"where"` // "conversation", or "everywhere": in all of a user's conversations
	Limit   int     `json:"limit"`
	Latency Latency `json:"latency"`
	Found   float64 `json:"found"` // messages of a page, on average
	// CPU is what server and database have used for a search, in milliseconds: a
	// busy machine does not blur it. Zero: not known.
	CPU float64 `json:"cpu_ms"`
	// Wrong pages had another status, or messages without the words or out of
	// order; First says what was wrong with the first.
	Wrong uint64 `json:"wrong"`
	First string `json:"first_wrong,omitempty"`
}

// Search searches over HTTP, one after the other, and looks at each page.
func Search(ctx context.Context, o SearchOptions) ([]SearchRun, error) {
	if len(o.Shelves) == 0 {
		return nil, errors.New("no conversations to search in")
	}
	var runs []SearchRun
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for _, kind := range searchKinds {
		for _, where := range []string{"conversation", "everywhere"} {
			run := SearchRun{Kind: kind.name, Where: where, Limit: o.Limit}
			took, r := &histogram{}, rand.New(rand.NewPCG(1, 9))
			var before Spent
			for n := range o.WarmUp + o.Searches {
				if n == o.WarmUp {
					var err error
					if before, err = o.spent(); err != nil {
						return nil, err
					}
				}
				shelf := o.Shelves[r.IntN(len(o.Shelves))]
				question := map[string]any{"text": kind.text(r), "limit": o.Limit}
				if where == "conversation" {
					question["with"] = shelf.With
				}
				began := time.Now()
				page, err := searchOnce(ctx, client, o.Address, shelf.Token, question)
				if err != nil {
					return nil, fmt.Errorf("search: %w", err)
				}
				if n < o.WarmUp {
					continue
				}
				took.record(time.Since(began).Nanoseconds())
				found, what := page.look(question["text"].(string))
				run.Found += float64(found) / float64(o.Searches)
				if what != "" {
					if run.Wrong++; run.First == "" {
						run.First = fmt.Sprintf("%v: %s", question, what)
					}
				}
			}
			after, err := o.spent()
			if err != nil {
				return nil, err
			}
			cpu := after.since(before, uint64(o.Searches))
			run.CPU = cpu.Server + cpu.Database
			run.Latency = took.latency()
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// searchPage is an answer.
type searchPage struct {
	status   int
	text     []byte
	Messages []struct {
		Sent time.Time `json:"sent_at"`
		Body string
	}
}

func searchOnce(ctx context.Context, client *http.Client, address, token string, question map[string]any) (*searchPage, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/search", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	p := &searchPage{status: answer.StatusCode}
	p.text, err = io.ReadAll(answer.Body)
	return p, err
}

// look counts the messages of a page, and says what is wrong with it.
func (p *searchPage) look(text string) (found int, wrong string) {
	if p.status != http.StatusOK {
		return 0, fmt.Sprintf("status %d: %.200s", p.status, p.text)
	}
	if err := json.Unmarshal(p.text, p); err != nil {
		return 0, err.Error()
	}
	for i, m := range p.Messages {
		if i > 0 && m.Sent.After(p.Messages[i-1].Sent) {
			return i, "a message is newer than the one before it"
		}
		for _, word := range strings.Fields(text) {
			if !strings.Contains(m.Body, strings.TrimSuffix(word, "*")) {
				return i, fmt.Sprintf("%q does not have it", m.Body)
			}
		}
	}
	return len(p.Messages), ""
}

// SearchReport is the outcome of runs over one database.
type SearchReport struct {
	Started time.Time `json:"started"`
	Commit  string    `json:"commit"`
	Machine Machine   `json:"machine"`
	Notes   []string  `json:"notes,omitempty"`
	Library Library   `json:"library"`
	// IndexRate is how many messages went into the index in a second, when it was
	// filled; IndexBytes is what the search takes on disk.
	IndexRate  float64     `json:"indexed_per_s,omitempty"`
	IndexBytes int64       `json:"index_bytes"`
	Runs       []SearchRun `json:"runs"`
}

// NewSearchReport is a report without runs.
func NewSearchReport(l Library, notes []string) *SearchReport {
	return &SearchReport{Started: time.Now().UTC(), Commit: buildCommit(), Machine: ThisMachine(), Notes: notes, Library: l}
}

// Faults says in sentences what makes the runs a failure; none if they are good.
func (r *SearchReport) Faults() []string {
	var faults []string
	for _, run := range r.Runs {
		if run.Wrong > 0 {
			faults = append(faults, fmt.Sprintf("%d pages (%s, %s) were wrong: %s", run.Wrong, run.Kind, run.Where, run.First))
		}
	}
	return faults
}

// WriteText writes the report for people.
func (r *SearchReport) WriteText(w io.Writer) error {
	var b strings.Builder
	l := r.Library
	fmt.Fprintf(&b, "%-16s%s messages in %s conversations of %s users; the database has %.1f GiB, %.2f of them for search\n", "library",
		count(float64(l.Messages)), count(float64(l.Conversations)), count(float64(l.Users)), mebibytes(l.Bytes)/1024, mebibytes(r.IndexBytes)/1024)
	if r.IndexRate > 0 {
		fmt.Fprintf(&b, "%-16s%s messages/s\n", "indexed", count(r.IndexRate))
	}
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "%-40s%5.1f found; cpu %s  %s\n", run.Kind+", "+run.Where, run.Found, ms(run.CPU), run.Latency)
	}
	fmt.Fprintf(&b, "%-16s%d × %s, %.0f GiB, Linux %s\n", "machine", r.Machine.Cores, r.Machine.CPU, mebibytes(r.Machine.Memory)/1024, r.Machine.Kernel)
	fmt.Fprintf(&b, "%-16s%s\n", "commit", r.Commit)
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%-16s%s\n", "note", note)
	}
	for _, fault := range r.Faults() {
		fmt.Fprintf(&b, "%-16s%s\n", "FAULT", fault)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
