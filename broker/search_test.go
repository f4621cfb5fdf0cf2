package broker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// indexed waits until everything that was stored before is in the search index.
func (w *world) indexed() {
	w.t.Helper()
	await(w.t, "the indexer", func() bool {
		return w.number(`SELECT count(*) FROM postbox.search_queue`) == 0 &&
			w.number(`SELECT count(*) FROM postbox.search_state WHERE fill_after IS NOT NULL`) == 0
	})
}

// found are the bodies that a search gives.
func (c *callers) found(user, request string) []string {
	c.t.Helper()
	return bodiesIn(c.must(user, "search", request))
}

func bodiesIn(reply map[string]any) []string {
	all := []string{}
	for _, m := range reply["messages"].([]any) {
		body, _ := m.(map[string]any)["body"].(string)
		all = append(all, body)
	}
	return all
}

// What is written in any language is found by what people type to find it.
func TestSearchFindsEveryLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.RequestRate = 0 })
	h := w.overHTTP(t)
	alice, bob := w.user("alice"), w.user("bob")
	for _, body := range []string{
		"The train to Berlin is late", "trainer and training", "我们明天去北京开会", "北方的京剧很好听", "爱",
		"東京タワーに行きました", "カラオケ", "학교에서 만나요", "Ｆｕｌｌ－Ｗｉｄｔｈ １２３", "Straße und ＳＴＲＡSSE", "Café", "cafe",
		"ticket ABC-42 für Müller", "don't panic", "iPhone手机坏了", "นัดเจอกันพรุ่งนี้", "Привет, МИР", "👍🏽 great", "שלום עולם", "caffe\u0301 tre",
		"one two three", "two one three", "snake_case and kebab-case", "مرحبا بالعالم", "नमस्ते दुनिया", "Γειά σου ΚΌΣΜΕ",
	} {
		h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":%q}`, bob, body))
	}
	w.indexed()
	for _, c := range []struct {
		text string
		want []string
	}{
		{"train", []string{"The train to Berlin is late"}},
		{"train*", []string{"trainer and training", "The train to Berlin is late"}},
		{"TRAIN berlin", []string{"The train to Berlin is late"}},
		{"late the", []string{"The train to Berlin is late"}},
		{"rain", nil},
		{"ber* the", []string{"The train to Berlin is late"}},
		{"ber", nil},
		{"be*", nil}, // two letters are the beginning of too much
		{"北京", []string{"我们明天去北京开会"}},
		{"京", []string{"東京タワーに行きました", "北方的京剧很好听", "我们明天去北京开会"}},
		{"明天去北京", []string{"我们明天去北京开会"}},
		{"明天 开会", []string{"我们明天去北京开会"}},
		{"北 京剧", []string{"北方的京剧很好听"}},
		{"北方京剧", nil},
		{"爱", []string{"爱"}},
		{"東京", []string{"東京タワーに行きました"}},
		{"タワー", []string{"東京タワーに行きました"}},
		{"ｶﾗｵｹ", []string{"カラオケ"}},
		{"학교", []string{"학교에서 만나요"}},
		{"만나", []string{"학교에서 만나요"}},
		{"full-width", []string{"Ｆｕｌｌ－Ｗｉｄｔｈ １２３"}},
		{"１２３", []string{"Ｆｕｌｌ－Ｗｉｄｔｈ １２３"}},
		{"strasse", []string{"Straße und ＳＴＲＡSSE"}},
		{"café", []string{"Café"}},
		{"cafe", []string{"cafe"}},
		{"caffé", []string{"caffe\u0301 tre"}},
		{"abc-42", []string{"ticket ABC-42 für Müller"}},
		{"müll*", []string{"ticket ABC-42 für Müller"}},
		{"don't", []string{"don't panic"}},
		{"手机", []string{"iPhone手机坏了"}},
		{"iphone", []string{"iPhone手机坏了"}},
		{"iphone手机", []string{"iPhone手机坏了"}},
		{"พรุ่งนี้", []string{"นัดเจอกันพรุ่งนี้"}},
		{"привет мир", []string{"Привет, МИР"}},
		{"👍", []string{"👍🏽 great"}},
		{"שלום", []string{"שלום עולם"}},
		{"one two", []string{"two one three", "one two three"}},
		{`"one two"`, []string{"one two three"}},
		{`“one two” three`, []string{"one two three"}},
		{`"two thr*"`, nil},
		{`"one two`, []string{"two one three", "one two three"}},
		{"case snake", []string{"snake_case and kebab-case"}},
		{"بالعالم", []string{"مرحبا بالعالم"}},
		{"दुनिया", []string{"नमस्ते दुनिया"}},
		{"κόσμε", []string{"Γειά σου ΚΌΣΜΕ"}},
		{"' | !x:* & \\", nil},
	} {
		got := h.found(bob, fmt.Sprintf(`{"text":%q}`, c.text))
		if !slices.Equal(got, append([]string{}, c.want...)) {
			t.Errorf("%s: found %q, want %q", c.text, got, c.want)
		}
	}
	for _, text := range []string{"", " ", "-", "?!…", "'", `""`, "。"} {
		if status, reply := h.ask(bob, "search", fmt.Sprintf(`{"text":%q}`, text)); status != http.StatusBadRequest {
			t.Errorf("%q: %d %v", text, status, reply)
		}
	}
}

// Over MQTT the reply is the same, and as many messages of it as the client
// takes; with before the rest is to be had.
func TestSearchOverMQTT(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	h := w.overHTTP(t)
	for i := range 9 {
		h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"findable %d %s"}`, bob, i, strings.Repeat("x ", 200)))
	}
	w.indexed()
	c := w.connect(t, login{version: 5, user: bob, id: "phone", clean: true, props: packets.Properties{MaximumPacketSize: 2000}})
	c.subscribe("reply/" + bob + "/#")
	ask := func(text string) (reply map[string]any) {
		t.Helper()
		c.publish(request(7, "search", text, "reply/"+bob+"/phone"))
		got := c.sort(1, 0, 1).replies[0].Payload
		if err := json.Unmarshal(got, &reply); err != nil || len(got) > 2000 {
			t.Fatalf("%d bytes, %v: %s", len(got), err, got)
		}
		return reply
	}
	var all []string
	before := ""
	for more := true; more; {
		reply := ask(fmt.Sprintf(`{"text":"findable","with":%q%s}`, alice, before))
		messages := reply["messages"].([]any)
		if len(messages) == 0 || len(messages) > 3 {
			t.Fatalf("%d messages", len(messages))
		}
		for _, body := range bodiesIn(reply) {
			all = append(all, strings.Fields(body)[1])
		}
		before = fmt.Sprintf(`,"before":%q`, messages[len(messages)-1].(map[string]any)["id"])
		more = reply["has_more"].(bool)
	}
	if got := strings.Join(all, ""); got != "876543210" {
		t.Errorf("found %s", got)
	}
	for name, text := range map[string]string{"no text": `{"with":"` + alice + `"}`, "a seq of nothing": `{"text":"findable","before":5}`} {
		if e, _ := ask(text)["error"].(map[string]any); e["code"] != "invalid" {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// A message is found where history has it; who has no part in it finds nothing;
// edits and retractions are in force at once.
func TestSearchShowsThePresent(t *testing.T) {
	w := sharedWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h := w.overHTTP(t)
	id := h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"the old words"}`, bob))["id"].(string)
	taken := h.must(bob, "send", fmt.Sprintf(`{"to":%q,"body":"old and taken back"}`, alice))["id"].(string)
	h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"old note"}`, alice))
	w.indexed()
	if got := h.found(alice, `{"text":"old"}`); !slices.Equal(got, []string{"old note", "old and taken back", "the old words"}) {
		t.Errorf("alice: %q", got)
	}
	if got := h.found(carol, `{"text":"old"}`); len(got) != 0 {
		t.Errorf("carol: %q", got)
	}
	if got := h.found(bob, fmt.Sprintf(`{"text":"old","from":%q}`, alice)); !slices.Equal(got, []string{"the old words"}) {
		t.Errorf("from alice: %q", got)
	}
	hit := h.must(bob, "search", `{"text":"words"}`)["messages"].([]any)[0].(map[string]any)
	page := h.must(bob, "history", fmt.Sprintf(`{"with":%q,"around":%q,"limit":1}`, hit["from"], hit["id"]))
	if diff := cmp.Diff(page["messages"].([]any)[0], any(hit)); diff != "" {
		t.Errorf("-history +search:\n%s", diff)
	}
	// Before the indexer has seen it, too.
	h.must(alice, "edit", fmt.Sprintf(`{"id":%q,"body":"other words"}`, id))
	h.must(bob, "retract", fmt.Sprintf(`{"id":%q}`, taken))
	if got := h.found(bob, `{"text":"old"}`); len(got) != 0 {
		t.Errorf("what is not there any more: %q", got)
	}
	w.indexed()
	if got := h.found(bob, `{"text":"other words"}`); !slices.Equal(got, []string{"other words"}) {
		t.Errorf("after the edit: %q", got)
	}
}

// What is not indexed is found all the same. A server that was killed before it had
// indexed what it has stored is followed by one that does; and what was there before
// the index is indexed, too.
func TestSearchAfterKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.RequestRate = 0 })
	alice, bob := w.user("alice"), w.user("bob")
	lock, err := w.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(func() { _ = lock.Rollback() })
	defer release()
	if _, err := lock.Exec(`SELECT 1 FROM postbox.search_state FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	h := w.overHTTP(t)
	for i := range 20 {
		h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"kept %d"}`, bob, i))
	}
	if n := w.number(`SELECT count(*) FROM postbox.search`); n != 0 {
		t.Fatalf("%d messages were indexed", n)
	}
	if got := h.found(bob, `{"text":"kept"}`); len(got) != 20 {
		t.Errorf("before the index has them: %d messages, %q", len(got), got)
	}
	w.crashWith(release)
	w.indexed()
	h = w.overHTTP(t)
	if got := h.found(bob, `{"text":"kept"}`); len(got) != 20 {
		t.Errorf("after the kill: %d messages, %q", len(got), got)
	}
	w.exec(`SELECT postbox.search_rebuild()`)
	w.indexed()
	if got := h.found(bob, `{"text":"kept"}`); len(got) != 20 {
		t.Errorf("filled anew: %d messages, %q", len(got), got)
	}
}

// While many messages come, the index is never far behind, and the metric says so.
func TestSearchKeepsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	h := w.overHTTP(t)
	h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"first"}`, bob))
	c := w.connect(t, login{version: 4, user: alice, id: "sender", clean: true})
	worst := 0.0
	for range 12 {
		var many []publication
		for i := range 250 {
			many = append(many, publication{id: uint16(i + 1), qos: 1, topic: "inbox/" + bob, body: fmt.Sprintf("word %d", i)})
		}
		c.publish(many...)
		c.sort(len(many), 0, 0)
		worst = max(worst, value(w.scrape(t), "postbox_search_lag_seconds"))
	}
	w.indexed()
	t.Logf("at most %.2f s behind", worst)
	if worst > patience.Seconds()/2 {
		t.Errorf("the index was %.1f s behind", worst)
	}
	if n := value(w.scrape(t), "postbox_search_indexed_total"); n != 3001 {
		t.Errorf("%v messages were indexed", n)
	}
}
