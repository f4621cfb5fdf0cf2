package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"postbox"
	"postbox/api"
)

// schema is a JSON object of a document.
type schema = api.Schema

// intro is said at the beginning of both documents.
const intro = "Postbox gives every user an inbox: whoever may write to the user sends to it, all of the user's devices read it. " +
	"The same operations with the same JSON are there over HTTP and over MQTT."

// openAPI is the OpenAPI 3.1 document of the operations.
func openAPI(ops []api.Operation, version string) schema {
	paths := schema{"/v1/stream": streamPath(), "/v1/export": exportPath()}
	for _, op := range ops {
		path := schema{"post": postOf(op)}
		if op.Reads {
			path["get"] = getOf(op)
		}
		if op.Edge != api.EdgeMQTT {
			paths["/v1/"+op.Name] = path
		}
	}
	for name, about := range map[string][2]string{
		"openapi.json":  {"application/json", "This document"},
		"asyncapi.json": {"application/json", "The same of MQTT, as an AsyncAPI document"},
		"docs":          {"text/html", "This document for people"},
	} {
		paths["/v1/"+name] = documentPath(name, about[0], about[1])
	}
	return schema{
		"openapi": "3.1.0",
		"info":    schema{"title": "Postbox", "version": version, "description": intro, "license": schema{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers": []schema{{"url": "/"}},
		"paths":   paths,
		"security": []schema{
			{"bearer": []string{}}, {"basic": []string{}},
		},
		"components": schema{
			"schemas":   api.Schemas(),
			"responses": errorResponses(),
			"headers":   headers(),
			"securitySchemes": schema{
				"bearer": schema{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "an access token"},
				"basic":  schema{"type": "http", "scheme": "basic", "description": "user name and password"},
				"stream": schema{"type": "apiKey", "in": "query", "name": "token", "description": "a token of stream_token, for the stream alone"},
			},
		},
	}
}

func postOf(op api.Operation) schema {
	o := operationOf(op, op.Name)
	o["requestBody"] = schema{
		"required": true,
		"content":  schema{"application/json": schema{"schema": op.RequestSchema(api.EdgeHTTP)}},
	}
	if slices.ContainsFunc(op.Fields, func(f api.Field) bool { return f.Name == "idempotency_key" }) {
		o["parameters"] = []schema{parameter("header", headerKey, "the field idempotency_key, as a header", schema{"type": "string", "maxLength": 128})}
	}
	responses := o["responses"].(schema)
	responses["415"] = schema{"$ref": "#/components/responses/unsupported"}
	if op.Creates {
		responses["201"] = replyOf("It was stored.", op.Reply)
		switch {
		case o["parameters"] != nil:
			responses["200"] = replyOf("It was stored before, under the same key.", op.Reply)
		case op.Again:
			responses["200"] = replyOf("It is there already, as asked for.", op.Reply)
		default:
			delete(responses, "200")
		}
	}
	return o
}

func getOf(op api.Operation) schema {
	o := operationOf(op, op.Name+".get")
	var parameters []schema
	for _, f := range op.Fields {
		if f.Edge == api.EdgeMQTT {
			continue
		}
		p := parameter("query", f.Name, f.Doc, f.Schema())
		if f.Required {
			p["required"] = true
		}
		if f.Kind == api.KindNames {
			p["style"], p["explode"] = "form", true
		}
		parameters = append(parameters, p)
	}
	o["parameters"] = parameters
	return o
}

func operationOf(op api.Operation, id string) schema {
	o := schema{"operationId": id, "summary": op.Summary, "responses": responsesOf(op)}
	if op.Doc != "" {
		o["description"] = op.Doc
	}
	if op.Anonymous {
		o["security"] = []schema{}
	}
	if op.Admins {
		o["tags"] = []string{"administrators"}
	}
	return o
}

func responsesOf(op api.Operation) schema {
	responses := schema{"200": replyOf("Done.", op.Reply)}
	for _, code := range slices.Concat(api.CommonCodes, op.Codes) {
		responses[strconv.Itoa(statuses[code])] = schema{"$ref": "#/components/responses/" + string(code)}
	}
	return responses
}

func replyOf(doc string, reply schema) schema {
	return schema{
		"description": doc, "headers": schema{headerRequestID: schema{"$ref": "#/components/headers/" + headerRequestID}},
		"content": schema{"application/json": schema{"schema": reply}},
	}
}

func parameter(in, name, doc string, s schema) schema {
	return schema{"name": name, "in": in, "description": doc, "schema": s}
}

// errorResponses are the answers of docs/spec.md §9, by their code.
func errorResponses() schema {
	all := schema{"unsupported": errorResponse("invalid: the request is not JSON", nil)}
	for code, doc := range map[postbox.Code]string{
		postbox.CodeInvalid:         "invalid: the message names the field",
		postbox.CodeUnauthenticated: "unauthenticated: bad credentials, or a token that has ended",
		postbox.CodeForbidden:       "forbidden: not allowed, blocked, not accepted",
		postbox.CodeNotFound:        "not_found: no such user, room, message or device that the caller may see",
		postbox.CodeConflict:        "conflict: the key was used before for something else",
		postbox.CodeTooLarge:        "too_large",
		postbox.CodeRateLimited:     "rate_limited",
		postbox.CodeEpochChanged:    "epoch_changed, expired",
		postbox.CodeUnavailable:     "unavailable: PostgreSQL is away, or the server is shutting down",
		postbox.CodeInternal:        "internal: a fault of the server; its log has the cause under the request id",
	} {
		var more []string
		switch code {
		case postbox.CodeUnauthenticated:
			more = []string{"WWW-Authenticate"}
		case postbox.CodeRateLimited, postbox.CodeUnavailable:
			more = []string{"Retry-After"}
		}
		all[string(code)] = errorResponse(doc, more)
	}
	return all
}

func errorResponse(doc string, more []string) schema {
	r := replyOf(doc, api.SchemaRef("Error"))
	for _, name := range more {
		r["headers"].(schema)[name] = schema{"$ref": "#/components/headers/" + name}
	}
	return r
}

func headers() schema {
	return schema{
		headerRequestID:    schema{"description": "the request's id: the peer's if it gave one, else the server's", "schema": schema{"type": "string"}},
		"Retry-After":      schema{"description": "seconds", "schema": schema{"type": "integer", "minimum": 1}},
		"WWW-Authenticate": schema{"description": "how to log in", "schema": schema{"type": "string"}},
	}
}

func streamPath() schema {
	position := schema{"type": "string", "pattern": `^([a-z0-9]+:)?[0-9]+$`}
	responses := schema{
		"200": schema{
			"description": "Events. Each has the id {epoch}:{inbox_seq} and as its data an entry, or a gap. A comment every 20 seconds keeps the stream open.",
			"headers":     schema{headerRequestID: schema{"$ref": "#/components/headers/" + headerRequestID}},
			"content":     schema{"text/event-stream": schema{"schema": schema{"type": "string"}}},
		},
	}
	for _, code := range api.CommonCodes {
		if code != postbox.CodeTooLarge {
			responses[strconv.Itoa(statuses[code])] = schema{"$ref": "#/components/responses/" + string(code)}
		}
	}
	return schema{"get": schema{
		"operationId": "stream", "summary": "Receive the inbox as Server-Sent Events",
		"description": "Without a position it starts at the end of the inbox.",
		"parameters": []schema{
			parameter("query", "after", "where to start the first time: {epoch}:{inbox_seq}, or a bare number", position),
			parameter("header", "Last-Event-ID", "the id of the last event, which counts before after: browsers send it when they come back", position),
		},
		"responses": responses,
		"security":  []schema{{"bearer": []string{}}, {"basic": []string{}}, {"stream": []string{}}},
	}}
}

func documentPath(name, kind, doc string) schema {
	body := schema{"type": "string"}
	if kind == "application/json" {
		body = schema{"type": "object", "required": []string{"info"}, "properties": schema{"info": schema{"type": "object", "additionalProperties": true}}, "additionalProperties": true}
	}
	return schema{"get": schema{
		"operationId": name, "summary": doc, "security": []schema{},
		"responses": schema{"200": schema{
			"description": doc, "headers": schema{headerRequestID: schema{"$ref": "#/components/headers/" + headerRequestID}},
			"content": schema{kind: schema{"schema": body}},
		}},
	}}
}

// statusText is how a status is shown to people.
func statusText(status string) string {
	n, err := strconv.Atoi(status)
	if err != nil {
		return status
	}
	return strings.TrimSpace(fmt.Sprint(n, " ", http.StatusText(n)))
}
