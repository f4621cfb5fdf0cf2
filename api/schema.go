package api

import (
	"strings"

	"postbox"
)

// Schema is a JSON Schema (draft 2020-12), as OpenAPI 3.1 and AsyncAPI 3 have
// them, ready to be encoded.
type Schema map[string]any

// member is a member of an object's schema.
type member struct {
	name     string
	schema   Schema
	optional bool
}

func must(name string, s Schema) member { return member{name, s, false} }
func may(name string, s Schema) member  { return member{name, s, true} }

// closed is an object of these members and no others.
func closed(doc string, members ...member) Schema {
	properties, demanded := Schema{}, []string{}
	for _, m := range members {
		properties[m.name] = m.schema
		if !m.optional {
			demanded = append(demanded, m.name)
		}
	}
	s := Schema{"type": "object", "properties": properties, "additionalProperties": false}
	if doc != "" {
		s["description"] = doc
	}
	if len(demanded) > 0 {
		s["required"] = demanded
	}
	return s
}

// reply is the schema of a reply: these members and the request's request_id.
func reply(members ...member) Schema {
	return closed("", append(members, may("request_id", Schema{"type": "string", "description": "the request's"}))...)
}

// with returns a copy of s with one more keyword.
func (s Schema) with(keyword string, v any) Schema {
	more := Schema{keyword: v}
	for k, old := range s {
		if k != keyword {
			more[k] = old
		}
	}
	return more
}

func about(doc string, s Schema) Schema { return s.with("description", doc) }

func stringSchema(doc string) Schema { return about(doc, Schema{"type": "string"}) }
func flagSchema(doc string) Schema   { return about(doc, Schema{"type": "boolean"}) }
func timeSchema(doc string) Schema {
	return about(doc, Schema{"type": "string", "format": "date-time"})
}

func countSchema(doc string, least int) Schema {
	return about(doc, Schema{"type": "integer", "minimum": least})
}

func arrayOf(doc string, item Schema) Schema {
	return about(doc, Schema{"type": "array", "items": item})
}

func always(s string) Schema { return Schema{"const": s, "type": "string"} }

func nameSchema(doc string) Schema {
	return about(doc, Schema{"type": "string", "pattern": namePattern})
}
func idSchema(doc string) Schema { return about(doc, Schema{"type": "string", "format": "uuid"}) }

// SchemaRef refers to one of Schemas, at the place where both documents have
// them.
func SchemaRef(name string) Schema { return Schema{"$ref": "#/components/schemas/" + name} }

// oneOfRequired demands exactly one of the members.
func oneOfRequired(names ...string) []Schema {
	all := make([]Schema, len(names))
	for i, name := range names {
		all[i] = Schema{"required": []string{name}}
	}
	return all
}

// RequestSchema is the schema of the operation's request at an edge.
func (o Operation) RequestSchema(edge Edge) Schema {
	var members []member
	for _, f := range o.Fields {
		if f.Edge == EdgeBoth || f.Edge == edge {
			members = append(members, member{f.Name, f.Schema(), !f.Required})
		}
	}
	s := closed("", members...)
	var all []Schema
	for _, names := range o.OneOf {
		all = append(all, Schema{"oneOf": oneOfRequired(names...)})
	}
	for _, names := range o.AtMostOne {
		// None of them, or one and not two.
		all = append(all, Schema{"oneOf": append(oneOfRequired(names...), Schema{"not": Schema{"anyOf": oneOfRequired(names...)}})})
	}
	if all != nil {
		s["allOf"] = all
	}
	return s
}

// Schema is the schema of the field.
func (f Field) Schema() Schema {
	s := Schema{"description": f.Doc}
	switch f.Kind {
	case KindText:
		s["type"] = "string"
		if f.Pattern != "" {
			s["pattern"] = f.Pattern
		}
		if f.Format != "" {
			s["format"] = f.Format
		}
		if f.Enum != nil {
			s["enum"] = f.Enum
		} else if f.Max > 0 && !strings.HasPrefix(f.Pattern, "^") { // which says the length, too
			s["maxLength"] = f.Max
		}
		if f.Min > 0 {
			s["minLength"] = f.Min
		}
	case KindNumber:
		s["type"], s["minimum"], s["maximum"] = "integer", f.Min, f.Max
	case KindFlag:
		s["type"] = "boolean"
	case KindNames:
		s["type"], s["minItems"], s["maxItems"] = "array", 1, f.Max
		s["items"] = Schema{"type": "string", "pattern": namePattern}
	case KindBytes:
		s["type"], s["contentEncoding"], s["maxLength"] = "string", "base64", (f.Max+2)/3*4
	case KindObject:
		s["type"], s["additionalProperties"] = "object", true
	case KindBound:
		s["anyOf"] = []Schema{
			{"type": "integer", "minimum": 0, "maximum": maxNumber, "title": "a seq"},
			{"type": "string", "format": "uuid", "title": "a message id"},
			{"type": "string", "format": "date-time", "title": "a time"},
		}
	}
	return s
}

// codeNames are the codes of docs/spec.md §9.
func codeNames() []postbox.Code {
	return []postbox.Code{
		postbox.CodeInvalid, postbox.CodeUnauthenticated, postbox.CodeForbidden, postbox.CodeNotFound,
		postbox.CodeConflict, postbox.CodeTooLarge, postbox.CodeRateLimited, postbox.CodeEpochChanged,
		postbox.CodeExpired, postbox.CodeUnavailable, postbox.CodeInternal,
	}
}
