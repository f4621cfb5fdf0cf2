package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
)

func (h *house) exporter() api.Exporter {
	return api.Exporter{Archive: h.World, People: h.World, Devices: h.World, Now: func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }}
}

// An export is everything of the user, a line for each thing, and says at its end
// that it is whole.
func TestExport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 1203 {
		h.say("alice", "bob", fmt.Sprint("to bob ", i+1))
	}
	h.say("carol", "alice", "from carol")
	h.say("bob", "carol", "not of alice")
	h.ask("alice", "block", `{"user":"carol"}`)
	h.ask("alice", "read", `{"with":"carol","seq":1}`)
	h.Users["alice"].Devices = []postbox.DeviceState{{Name: "phone", Cursor: 7}}
	h.ask("alice", "me.update", `{"display_name":"Alice \"A\" <a>"}`)

	var out bytes.Buffer
	var steps []api.Progress
	if err := h.exporter().Export(t.Context(), h.Users["alice"].ID, &out, func(p api.Progress) { steps = append(steps, p) }); err != nil {
		t.Fatal(err)
	}
	var lines []object
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var o object
		if err := decoder.Decode(&o); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, o)
	}
	kinds := make(map[any]int)
	talks := make(map[any][]any)
	for _, o := range lines {
		kinds[o["type"]]++
		if o["type"] == "conversation" && o["with"] == "carol" && o["read_seq"] != 1.0 {
			t.Errorf("%v", o)
		}
		if m, ok := o["message"].(object); ok {
			other := m["to"]
			if other == "alice" {
				other = m["from"]
			}
			talks[other] = append(talks[other], m["seq"])
			if want := fmt.Sprint("to bob ", m["seq"]); other == "bob" && m["body"] != want {
				t.Errorf("%v", m)
			}
		}
	}
	want := map[any]int{"export": 1, "account": 1, "block": 1, "device": 1, "conversation": 2, "message": 1204, "end": 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := lines[1]["display_name"]; got != `Alice "A" <a>` {
		t.Errorf("display name %v", got)
	}
	for i, seq := range talks["bob"] {
		if seq != float64(i+1) {
			t.Fatalf("message %d with bob is %v", i+1, seq)
		}
	}
	if len(talks["bob"]) != 1203 || len(talks["carol"]) != 1 {
		t.Errorf("%d with bob, %d with carol", len(talks["bob"]), len(talks["carol"]))
	}
	head, end := lines[0], lines[len(lines)-1]
	if head["type"] != "export" || head["user"] != "alice" || head["messages"] != 1204.0 || end["type"] != "end" || end["messages"] != 1204.0 || end["conversations"] != 2.0 {
		t.Errorf("begins with %v, ends with %v", head, end)
	}
	if len(steps) != 4 || steps[len(steps)-1] != (api.Progress{Messages: 1204, Total: 1204}) {
		t.Errorf("progress %v", steps)
	}
}

// An export that cannot go on does not look like a whole one.
func TestExportFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 600 {
		h.say("alice", "bob", fmt.Sprint(i))
	}
	away := errors.New("away")
	var out bytes.Buffer
	err := h.exporter().Export(t.Context(), h.Users["alice"].ID, &out, func(api.Progress) {
		h.Fail = func() error { return away }
	})
	if !errors.Is(err, away) || bytes.Contains(out.Bytes(), []byte(`"end"`)) || bytes.Count(out.Bytes(), []byte("\n")) < 500 {
		t.Errorf("%v after %d bytes", err, out.Len())
	}
}
