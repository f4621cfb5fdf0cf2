package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"postbox/api"
)

//go:embed docs.html
var docsPage string

//go:embed docs.css
var docsStyle string

// newDocuments are the documents. Each is made when it is first asked for, once:
// they do not change while the server runs, and many servers are never asked.
func newDocuments(o APIOptions) map[string]http.Handler {
	ops := o.Operations.Operations()
	open := sync.OnceValue(func() schema { return openAPI(ops, o.Version) })
	return map[string]http.Handler{
		"openapi.json": made(func() http.Handler { return document("application/json", encode(open()), "") }),
		"asyncapi.json": made(func() http.Handler {
			return document("application/json", encode(asyncAPI(ops, o.Version)), "")
		}),
		"docs": made(func() http.Handler { return docs(ops, open()) }),
	}
}

// made serves what is made at the first request.
func made(handler func() http.Handler) http.Handler {
	once := sync.OnceValue(handler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { once().ServeHTTP(w, r) })
}

// encode encodes what is made of maps, slices and strings alone, which does not
// fail.
func encode(v any) []byte {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic("a document cannot be encoded: " + err.Error())
	}
	return append(b, '\n')
}

// document serves bytes that never change. Anybody may read them, pages of
// other origins too.
func document(kind string, body []byte, policy string) http.Handler {
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Cache-Control", "no-cache") // ask each time, with the tag
		h.Set("ETag", tag)
		if policy != "" {
			h.Set("Content-Security-Policy", policy)
			h.Set("Referrer-Policy", "no-referrer")
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}

// docs is the OpenAPI document as a page, from the same definitions.
func docs(ops []api.Operation, open schema) http.Handler {
	style := template.CSS(docsStyle) // ours, so it may stand as it is
	page := template.Must(template.New("docs").Parse(docsPage))
	var out bytes.Buffer
	if err := page.Execute(&out, map[string]any{"Intro": intro, "Style": style, "Operations": shownOperations(ops, open), "Schemas": shownSchemas()}); err != nil {
		panic("the page of the operations cannot be made: " + err.Error())
	}
	sum := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return document("text/html; charset=utf-8", out.Bytes(), policy)
}

// shownOperation is an operation as the page shows it.
type shownOperation struct {
	api.Operation
	Methods []string
	Fields  []shownField
	Choices []string
	Answers []shownAnswer
	Reply   string // the schema
}

type shownField struct {
	Name, Doc, Type string
	Required        bool
}

type shownAnswer struct{ Status, Doc string }

func shownOperations(ops []api.Operation, open schema) []shownOperation {
	var all []shownOperation
	for _, op := range ops {
		s := shownOperation{Operation: op, Methods: []string{"POST"}, Reply: string(encode(op.Reply))}
		if op.Reads {
			s.Methods = []string{"GET", "POST"}
		}
		for _, f := range op.Fields {
			if f.Edge != api.EdgeMQTT {
				s.Fields = append(s.Fields, shownField{f.Name, f.Doc, typeOf(f.Schema()), f.Required})
			}
		}
		for _, names := range op.OneOf {
			s.Choices = append(s.Choices, "one of "+strings.Join(names, ", "))
		}
		for _, names := range op.AtMostOne {
			s.Choices = append(s.Choices, "at most one of "+strings.Join(names, ", "))
		}
		s.Answers = shownAnswers(open["paths"].(schema)["/v1/"+op.Name].(schema)["post"].(schema)["responses"].(schema), open)
		all = append(all, s)
	}
	return all
}

func shownAnswers(responses, open schema) []shownAnswer {
	named := open["components"].(schema)["responses"].(schema)
	var all []shownAnswer
	for status, r := range responses {
		answer := r.(schema)
		if name, is := answer["$ref"].(string); is {
			answer = named[name[strings.LastIndexByte(name, '/')+1:]].(schema)
		}
		all = append(all, shownAnswer{statusText(status), answer["description"].(string)})
	}
	slices.SortFunc(all, func(a, b shownAnswer) int { return strings.Compare(a.Status, b.Status) })
	return all
}

// typeOf says in a few words what a schema takes.
func typeOf(s schema) string {
	var words []string
	if kind, is := s["type"].(string); is {
		words = append(words, kind)
	}
	for _, keyword := range []string{"format", "minimum", "maximum", "maxLength", "maxItems", "pattern", "enum"} {
		if v, has := s[keyword]; has {
			words = append(words, keyword+" "+strings.TrimSpace(string(encode(v))))
		}
	}
	if any, has := s["anyOf"].([]schema); has {
		for i, one := range any {
			if i > 0 {
				words = append(words, "or")
			}
			words = append(words, typeOf(one))
		}
	}
	return strings.Join(words, " ")
}

// shownSchema is a schema that replies refer to.
type shownSchema struct{ Name, Text string }

func shownSchemas() []shownSchema {
	var all []shownSchema
	for name, s := range api.Schemas() {
		all = append(all, shownSchema{name, string(encode(s))})
	}
	slices.SortFunc(all, func(a, b shownSchema) int { return strings.Compare(a.Name, b.Name) })
	return all
}
