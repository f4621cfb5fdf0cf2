package web

import (
	"slices"

	"postbox"
	"postbox/api"
)

// asyncAPI is the AsyncAPI 3 document of what is there over MQTT. It tells what
// the server receives and sends.
func asyncAPI(ops []api.Operation, version string) schema {
	ops = slices.DeleteFunc(slices.Clone(ops), func(op api.Operation) bool { return op.Edge == api.EdgeHTTP })
	channels := schema{
		"send":    inboxChannel(),
		"inbox":   deliveryChannel(),
		"replies": repliesChannel(ops),
	}
	operations := schema{
		"publish": schema{
			"action": "receive", "summary": "Take a message, to be stored before it is acknowledged",
			"channel": ref("channels", "send"), "messages": []schema{ref("channels", "send", "messages", "body")},
		},
		"deliver": schema{
			"action": "send", "summary": "Bring an entry of the inbox to a device",
			"channel":  ref("channels", "inbox"),
			"messages": []schema{ref("channels", "inbox", "messages", "entry"), ref("channels", "inbox", "messages", "gap"), ref("channels", "inbox", "messages", "error")},
		},
	}
	addSignals(channels, operations)
	for _, op := range ops {
		channels["api."+op.Name] = requestChannel(op)
		operations["api."+op.Name] = operationOfChannel(op)
	}
	return schema{
		"asyncapi": "3.0.0",
		"info": schema{
			"title": "Postbox", "version": version, "license": schema{"name": "Apache-2.0"},
			"description": intro + " MQTT 3.1.1 and 5; user name and password, or an access token as the password.",
		},
		"defaultContentType": "application/json",
		"channels":           channels,
		"operations":         operations,
		"components": schema{
			"schemas": withSignals(withErrorEnvelope(api.Schemas())),
			"messages": schema{"error": schema{
				"summary": "why a request was refused", "payload": api.SchemaRef("Error"),
			}},
		},
	}
}

// withErrorEnvelope adds what only MQTT has.
func withErrorEnvelope(schemas map[string]api.Schema) map[string]api.Schema {
	code := schemas["Error"]["properties"].(api.Schema)["error"].(api.Schema)["properties"].(api.Schema)["code"]
	schemas["Refusal"] = schema{
		"type": "object", "additionalProperties": false,
		"description": "one of this connection's publishes was refused; it has no number",
		"required":    []string{"type", "code", "topic", "message"},
		"properties": schema{
			"type": schema{"const": "error", "type": "string"}, "code": code,
			"topic":           schema{"type": "string", "description": "where it was published to"},
			"idempotency_key": schema{"type": "string"},
			"message":         schema{"type": "string", "description": "a sentence for people"},
		},
	}
	return schemas
}

// ref refers to a place in the document.
func ref(path ...string) schema {
	place := "#"
	for _, step := range path {
		place += "/" + step
	}
	return schema{"$ref": place}
}

func inboxChannel() schema {
	return schema{
		"address": "inbox/{user}", "summary": "Publish here to write to a user. With an idempotency key: inbox/{user}/{key}.",
		"parameters": schema{"user": schema{"description": "the recipient"}},
		"messages": schema{"body": schema{
			"summary":     "the payload is the body, in any form; it is never looked at",
			"contentType": postbox.OctetStream,
			"payload":     schema{"type": "string", "format": "binary"},
			"headers": schema{
				"type": "object", "additionalProperties": true, "description": "MQTT 5 user properties",
				"properties": schema{
					"idempotency-key": schema{"type": "string", "maxLength": postbox.MaxKeyLength},
					"ref":             schema{"type": "string", "description": "a JSON object of the app's own"},
				},
			},
		}},
	}
}

func deliveryChannel() schema {
	return schema{
		"address": "inbox/{me}", "summary": "Subscribe here, and only here, for what is sent to you and by you.",
		"parameters": schema{"me": schema{"description": "the user of the connection"}},
		"messages": schema{
			"entry": schema{"summary": "an entry of the inbox", "payload": api.SchemaRef("Entry")},
			"gap":   schema{"summary": "what cannot be had any more", "payload": api.SchemaRef("Gap")},
			"error": schema{"summary": "a publish was refused", "payload": api.SchemaRef("Refusal")},
		},
	}
}

func requestChannel(op api.Operation) schema {
	return schema{
		"address":  "api/v1/" + op.Name,
		"messages": schema{"request": schema{"summary": op.Summary, "payload": op.RequestSchema(api.EdgeMQTT)}},
	}
}

func repliesChannel(ops []api.Operation) schema {
	messages := schema{"error": ref("components", "messages", "error")}
	for _, op := range ops {
		messages[op.Name] = schema{"summary": "the reply of " + op.Name, "payload": op.Reply}
	}
	return schema{
		"address": "reply/{me}/{reply}",
		"summary": "Where replies go: to the response topic of an MQTT 5 request, else to the request's field reply, else to the device's client id, percent-encoded.",
		"parameters": schema{
			"me": schema{"description": "the user of the connection"}, "reply": schema{"description": "what the request names, or the device"},
		},
		"messages": messages,
	}
}

func operationOfChannel(op api.Operation) schema {
	channel := "api." + op.Name
	o := schema{
		"action": "receive", "summary": op.Summary, "channel": ref("channels", channel),
		"messages": []schema{ref("channels", channel, "messages", "request")},
		"reply": schema{
			"channel":  ref("channels", "replies"),
			"messages": []schema{ref("channels", "replies", "messages", op.Name), ref("channels", "replies", "messages", "error")},
		},
	}
	if op.Doc != "" {
		o["description"] = op.Doc
	}
	if slices.ContainsFunc(op.Fields, func(f api.Field) bool { return f.Name == "idempotency_key" }) {
		o["tags"] = []schema{{"name": "idempotent", "description": "asked again with the same key it is done once"}}
	}
	return o
}
