package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// generator makes requests of one operation out of its schema.
type generator struct {
	random    *rand.Rand
	surface   Surface
	operation string
	schema    map[string]any
}

// strings that strangers put everywhere.
var hostile = []string{
	"", " ", "\x00", "a\x00b", "\u202e", "😀", "ÿ", "\ufeff", "\uffff", "'", `"`, `\`, "%", "../../etc/passwd", "{}", "null", "0", "-1", "NaN",
	"'; DROP TABLE postbox.users; --", "' OR '1'='1", `" OR ""="`, "1); DELETE FROM postbox.messages; --", "$1", "{1,2}", `\x00`, "E'\\000'",
	"pg_sleep(10)", "' || pg_sleep(10) || '", "<script>alert(1)</script>", "${jndi:ldap://x}", "bob\n", "BOB", "bob/#", "+",
	strings.Repeat("x", 129), strings.Repeat("é", 100), strings.Repeat("x", 5000), strings.Repeat("x", 70_000),
	"0198c1d2-0000-7000-8000-000000000000", "2026-11-22T15:04:05Z", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
}

// values of every type, right for no field or for some.
var anything = []any{
	nil, true, false, 0, 1, -1, 1.5, 500, 501, 1 << 31, json.Number("9007199254740991"), json.Number("9007199254740992"),
	json.Number("9223372036854775807"), json.Number("9223372036854775808"), json.Number("1e300"), json.Number("-1e300"), json.Number("1e-300"),
	json.Number("5e0"), []any{}, []any{"bob"}, []any{1}, []any{nil}, []any{"bob", "'; --"}, [][]any{{}},
	map[string]any{}, map[string]any{"a": 1}, map[string]any{"$ref": "#"}, map[string]any{"a": strings.Repeat("x", 5000)},
}

// all makes at least n requests: each value in each field, fields left out and
// unknown ones, broken JSON, and then combinations by chance.
func (g *generator) all(n int) []outcome {
	var all []outcome
	add := func(why string, request map[string]any) {
		text, err := json.Marshal(request)
		if err != nil {
			panic(err)
		}
		all = append(all, outcome{text, why, true})
	}
	add("valid", g.valid())
	names := slices.Sorted(maps.Keys(g.properties()))
	for _, name := range names {
		for _, v := range g.values(name) {
			request := g.valid()
			request[name] = v
			add(name, request)
		}
		request := g.valid()
		delete(request, name)
		add("without "+name, request)
	}
	for _, name := range []string{"", "x", "To", "__proto__", "request_id ", "reply", "'; --", "\x00", strings.Repeat("x", 3000)} {
		request := g.valid()
		request[name] = "x"
		add("an unknown field", request)
	}
	all = append(all, g.broken()...)
	for len(all) < n {
		request := g.valid()
		for range 1 + g.random.IntN(3) {
			name := names[g.random.IntN(len(names))]
			if g.random.IntN(4) == 0 {
				delete(request, name)
				continue
			}
			values := g.values(name)
			request[name] = values[g.random.IntN(len(values))]
		}
		add("by chance", request)
	}
	return all
}

func (g *generator) valid() map[string]any {
	request := maps.Clone(g.surface.Valid(g.operation))
	if request == nil {
		request = make(map[string]any)
	}
	return request
}

func (g *generator) properties() map[string]any {
	p, _ := g.schema["properties"].(map[string]any)
	return p
}

// values are what to put into a field: what is right for it, what is at its
// bounds and beyond, what exists and is not the user's, and what is never right.
func (g *generator) values(name string) []any {
	var all []any
	for _, s := range hostile {
		all = append(all, s)
	}
	all = append(all, anything...)
	all = append(all, g.surface.Foreign[name]...)
	property, _ := g.properties()[name].(map[string]any)
	for _, keyword := range []string{"minimum", "maximum"} {
		if bound, is := property[keyword].(float64); is {
			all = append(all, bound-1, bound, bound+1)
		}
	}
	if most, is := property["maxItems"].(float64); is {
		for _, n := range []int{1, int(most), int(most) + 1} {
			all = append(all, slices.Repeat([]any{"bob"}, n))
		}
	}
	if most, is := property["maxLength"].(float64); is {
		all = append(all, strings.Repeat("x", int(most)), strings.Repeat("x", int(most)+1))
	}
	options, _ := property["enum"].([]any)
	return append(all, options...)
}

// broken are requests that are not JSON objects, or not JSON.
func (g *generator) broken() []outcome {
	valid, err := json.Marshal(g.valid())
	if err != nil {
		panic(err)
	}
	inner := strings.TrimSuffix(string(valid), "}")
	comma := ","
	if inner == "{" {
		comma = ""
	}
	var all []outcome
	for _, text := range []string{
		"", " ", "null", "[]", "1", `"x"`, "{", "}", inner, string(valid) + "x", string(valid) + string(valid), "\x00", "\xff",
		inner + comma + "\"request_id\":\"\xff\"}", inner + comma + `"request_id":"\ud800"}`, inner + comma + `"request_id":"a","request_id":"a"}`,
		inner + comma + "\"request_id\":\"a\nb\"}", inner + comma + `"request_id":01}`, inner + comma + `"request_id":'a'}`,
		inner + `,}`, inner + comma + `"x"}`, "\ufeff" + string(valid), strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 20_000),
		fmt.Sprintf(`{"request_id":%q}`, strings.Repeat("x", 300<<10)),
	} {
		all = append(all, outcome{[]byte(text), "broken", false})
	}
	return all
}
