package proof

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is one request of the script: %me is the asker, %peer the other side, and
// %1, %2 … are ids that earlier replies had.
type step struct{ operation, request, want string }

// script is asked in every way. want is what the reply must hold.
var script = []step{
	{"me", `{}`, `"user":"ME"`},
	{"me.update", `{"display_name":"Me Myself","receipts":true}`, `"display_name":"Me Myself"`},
	{"me.update", `{"accept":"strangers"}`, `"code":"invalid"`},
	{"send", `{"to":"%peer","body":"one \u0000 \"two\" 世界"}`, `"seq":1`},
	{"send", `{"to":"%peer","body":"keyed","idempotency_key":"k1","ref":{"reply_to":"x","n":1.50}}`, `"duplicate":false`},
	{"send", `{"to":"%peer","body":"keyed","idempotency_key":"k1","ref":{"reply_to":"x","n":1.50}}`, `"duplicate":true`},
	{"send", `{"to":"%peer","body":"other","idempotency_key":"k1"}`, `"code":"conflict"`},
	{"send", `{"to":"%peer","body_base64":"/wA=","content_type":"application/x-two","request_id":"mine-1"}`, `"request_id":"mine-1"`},
	{"send", `{"to":"%peer","body":"one","body_base64":"b25l"}`, `"code":"invalid"`},
	{"send", `{"to":"nobody-here","body":"x"}`, `"code":"not_found"`},
	{"send", `{"to":"No Body","body":"x"}`, `"code":"invalid"`},
	{"send", `{"to":"%peer"}`, `"code":"invalid"`},
	{"send", `{"to":"%peer","body":"x","colour":"red","request_id":"mine-2"}`, `colour`},
	{"send", `{"to":"%peer","body":5}`, `"code":"invalid"`},
	{"send", `{"to":"%peer","body":"x"`, `"code":"invalid"`},
	{"send", `["to"]`, `"code":"invalid"`},
	{"history", `{"with":"%peer"}`, `"has_before":false`},
	{"history", `{"with":"%peer","limit":1}`, `"has_before":true`},
	{"history", `{"with":"%peer","after":1,"limit":1}`, `"has_after":true`},
	{"history", `{"with":"%peer","around":2,"limit":3}`, `"seq":2`},
	{"history", `{"with":"%peer","before":"2001-01-01T00:00:00Z"}`, `"messages":[]`},
	{"history", `{"with":"%peer","limit":0}`, `"code":"invalid"`},
	{"history", `{"with":"%peer","limit":501}`, `"code":"invalid"`},
	{"history", `{"with":"nobody-here"}`, `"code":"not_found"`},
	{"history", `{"room":"no-room"}`, `"code":"not_found"`},
	{"history", `{}`, `"code":"invalid"`},
	{"edit", `{"id":"%1","body":"one, edited"}`, `"seq":1`},
	{"edit", `{"id":"0198c1d2-0123-7abc-8def-0123456789ab","body":"x"}`, `"code":"not_found"`},
	{"edit", `{"id":"5","body":"x"}`, `"code":"invalid"`},
	{"retract", `{"id":"%2","idempotency_key":"r1"}`, `"seq":2`},
	{"retract", `{"id":"%2","idempotency_key":"r1"}`, `"seq":2`},
	{"history", `{"with":"%peer"}`, `"retracted":true`},
	{"sync", `{"after":0}`, `"complete":true`},
	{"sync", `{"after":1,"limit":2}`, `"complete":false`},
	{"sync", `{"after":1,"epoch":"never"}`, `"code":"epoch_changed"`},
	{"conversations", `{}`, `"unread":0`},
	{"read", `{"with":"%peer","seq":2}`, `"read_seq":3`}, // sending moves it
	{"read", `{"with":"%peer","seq":1}`, `"read_seq":3`},
	{"read", `{"with":"%peer","seq":-1}`, `"code":"invalid"`},
	{"room.create", `{"room":"%me","title":"Mine"}`, `"role":"owner"`},
	{"room.create", `{"room":"%me","title":"Mine"}`, `"member_count":1`},
	{"room.create", `{"room":"%me","title":"Another"}`, `"code":"conflict"`},
	{"room.add", `{"room":"%me","user":"%peer","role":"reader"}`, `"member_count":2`},
	{"room.add", `{"room":"%me","user":"nobody-here"}`, `"code":"not_found"`},
	{"room.role", `{"room":"%me","user":"%peer","role":"queen"}`, `"code":"invalid"`},
	{"room.get", `{"room":"%me"}`, `"role":"reader"`},
	{"room.get", `{"room":"no-room"}`, `"code":"not_found"`},
	{"send", `{"room":"%me","body":"in a room"}`, `"seq":1`},
	{"history", `{"room":"%me"}`, `in a room`},
	{"read", `{"room":"%me","seq":1}`, `"read_seq":1`},
	{"signal", `{"room":"%me","body":"typing"}`, `{`},
	{"signal", `{"to":"nobody-here","body":"typing"}`, `"code":"not_found"`},
	{"room.leave", `{"room":"%me"}`, `"code":"forbidden"`},
	{"room.remove", `{"room":"%me","user":"%peer"}`, `"member_count":1`},
	{"room.list", `{}`, `Mine`},
	{"profile", `{"users":["%me","nobody-here"]}`, `Me Myself`},
	{"presence", `{"users":["%peer"]}`, `"presence":[]`},
	{"blocks", `{}`, `[]`},
	{"block", `{"user":"%peer"}`, `%peer`},
	{"block", `{"user":"nobody-here"}`, `"code":"not_found"`},
	{"unblock", `{"user":"%peer"}`, `[]`},
	{"device.revoke", `{"device":"never seen"}`, `"code":"not_found"`},
}

// One script of requests and errors, asked in four ways, has the same replies.
func TestFourWays(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{Env: []string{"POSTBOX_LIMITS_REQUEST_RATE=0"}})
	node := StartNodeDriver(t)
	s.AddUser("peer", "a secret")
	for _, name := range []string{"curl", "js", "rr", "pair"} {
		s.AddUser("ask-"+name, "a secret")
	}
	ways := []Way{
		curlWay(s, "ask-curl", "a secret"), jsWay(t, s, node, "ask-js", "a secret"),
		rrWay(s, "ask-rr", "a secret"), pairWay(t, s, "ask-pair", "a secret"),
	}
	var first []string
	for _, w := range ways {
		c := compact{way: w, seen: map[string]string{}}
		var ids, told []string
		for i, st := range script {
			fill := strings.NewReplacer(pairs(w.User, ids)...)
			reply := w.Ask(t, st.operation, fill.Replace(st.request))
			ids = append(ids, messageID(reply, ids)...)
			got := c.of(t, reply)
			if want := strings.ReplaceAll(strings.ReplaceAll(st.want, "%peer", "peer"), "%me", "ME"); !strings.Contains(got, want) {
				t.Errorf("%s, step %d: %s %s\nreplies %s\nwithout %s", w.Name, i, st.operation, st.request, got, want)
			}
			told = append(told, st.operation+" "+st.request+" → "+got)
		}
		if first == nil {
			first = told
			continue
		}
		if diff := cmp.Diff(first, told); diff != "" {
			t.Errorf("%s is answered otherwise than %s: -%s +%s:\n%s", w.Name, ways[0].Name, ways[0].Name, w.Name, diff)
		}
	}
}

func pairs(me string, ids []string) []string {
	all := []string{"%me", me, "%peer", "peer"}
	for i, id := range ids {
		all = append(all, fmt.Sprint("%", i+1), id)
	}
	return all
}

// messageID is the id of a reply's new message.
func messageID(reply string, known []string) []string {
	var r struct {
		ID        string `json:"id"`
		Seq       int    `json:"seq"`
		Duplicate bool   `json:"duplicate"`
	}
	if json.Unmarshal([]byte(reply), &r) != nil || r.ID == "" || r.Duplicate || r.Seq != len(known)+1 {
		return nil
	}
	return []string{r.ID}
}
