package web

import (
	"postbox"
	"postbox/api"
)

// roomChannel is where members write.
func roomChannel() schema {
	c := inboxChannel()
	c["address"] = "room/{room}"
	c["summary"] = "Publish here to write in a room that you are in; it arrives in the inbox of every member. With an idempotency key: room/{room}/{key}."
	c["parameters"] = schema{"room": schema{"description": "the room"}}
	return c
}

// signalChannel is where what is not kept is published.
func signalChannel(address, parameter, summary string) schema {
	return schema{
		"address": address, "summary": summary,
		"parameters": schema{parameter: schema{"description": "for whom it is"}},
		"messages": schema{"body": schema{
			"summary":     "the payload is the body, in any form; it is never looked at, and not kept",
			"contentType": postbox.OctetStream,
			"payload":     schema{"type": "string", "format": "binary", "maxLength": postbox.MaxSignal},
		}},
	}
}

// signalsChannel is where it comes.
func signalsChannel() schema {
	return schema{
		"address": "signal/{me}", "summary": "Subscribe here, and only here, for what is not kept: signals, and how far your messages have got. QoS 0.",
		"parameters": schema{"me": schema{"description": "the user of the connection"}},
		"messages": schema{
			"signal":    schema{"summary": "what somebody signals", "payload": api.SchemaRef("Signal")},
			"delivered": schema{"summary": "a device of the other side has your messages up to this one", "payload": api.SchemaRef("Delivered")},
		},
	}
}

// addSignals adds the channels and operations of rooms and signals.
func addSignals(channels, operations schema) {
	channels["rooms"] = roomChannel()
	channels["signal.user"] = signalChannel("signal/{user}", "user", "Publish here to reach the devices of a user that are online.")
	channels["signal.room"] = signalChannel("signal/room/{room}", "room", "Publish here to reach the devices of a room's other members that are online.")
	channels["signals"] = signalsChannel()
	take := func(channel, summary string) schema {
		return schema{
			"action": "receive", "summary": summary,
			"channel": ref("channels", channel), "messages": []schema{ref("channels", channel, "messages", "body")},
		}
	}
	operations["publishInRoom"] = take("rooms", "Take a message to a room, to be stored before it is acknowledged")
	operations["signalUser"] = take("signal.user", "Take a signal to a user")
	operations["signalRoom"] = take("signal.room", "Take a signal to a room")
	operations["tell"] = schema{
		"action": "send", "summary": "Bring what is not kept to a device that is online",
		"channel":  ref("channels", "signals"),
		"messages": []schema{ref("channels", "signals", "messages", "signal"), ref("channels", "signals", "messages", "delivered")},
	}
}

// withSignals adds what comes by signal/{me}.
func withSignals(schemas map[string]api.Schema) map[string]api.Schema {
	text := func(doc string) schema { return schema{"type": "string", "description": doc} }
	object := func(doc, kind string, required []string, properties schema) schema {
		properties["type"] = schema{"const": kind, "type": "string"}
		return schema{
			"type": "object", "additionalProperties": false, "description": doc,
			"required": append([]string{"type", "from"}, required...), "properties": properties,
		}
	}
	schemas["Signal"] = object("what somebody signals, with one of to and room, and one of body and body_base64", "signal", nil, schema{
		"from": text("the authenticated sender"), "to": text("to whom"), "room": text("or in which room"),
		"body": text("the body, if it is UTF-8"), "body_base64": schema{"type": "string", "contentEncoding": "base64"},
	})
	schemas["Delivered"] = object("a device of from has what to has sent to it, up to seq", "delivered", []string{"to", "seq"}, schema{
		"from": text("whose device it is"), "to": text("the receiver of this"), "seq": schema{"type": "integer", "minimum": 1},
	})
	return schemas
}
