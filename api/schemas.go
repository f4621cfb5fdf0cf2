package api

import "postbox"

// Schemas are the schemas that replies refer to, by their name in the
// documents. The caller must not change what it gets.
func Schemas() map[string]Schema {
	return map[string]Schema{
		"Error":        errorSchema(),
		"Ref":          refSchema(),
		"Message":      messageSchema(),
		"Entry":        entrySchema(),
		"MessageEntry": messageEntrySchema(),
		"EditEntry":    editEntrySchema(),
		"RetractEntry": retractEntrySchema(),
		"ReadEntry":    readEntrySchema(),
		"RoomEntry":    roomEntrySchema(),
		"BareEntry":    bareEntrySchema(),
		"Gap":          gapSchema(),
		"Conversation": conversationSchema(),
		"Profile":      profileSchema(),
		"Person":       personSchema(),
		"Device":       deviceSchema(),
		"Presence":     presenceSchema(),
		"Login":        loginSchema(),
		"Account":      accountSchema(),
		"Invite":       inviteSchema(),
		"Room":         roomSchema(),
		"Member":       memberSchema(),
	}
}

func errorSchema() Schema {
	return closed("what was refused, and why",
		must("error", closed("",
			must("code", about("what programs go by", Schema{"type": "string", "enum": codeNames()})),
			must("message", stringSchema("a sentence for people"))),
		),
		may("request_id", stringSchema("the request's; over HTTP also one that the server made")),
	)
}

func refSchema() Schema {
	return Schema{
		"type": "object", "additionalProperties": true,
		"description": "the app's own object, kept as it was sent and never looked at",
	}
}

// between are who wrote where, and which message of the conversation it is.
func between(seq string) []member {
	return []member{
		must("from", nameSchema("the authenticated sender")),
		may("to", nameSchema("of a direct conversation: to whom")),
		may("room", nameSchema("of a room's: the room")),
		must("seq", countSchema(seq, 1)),
	}
}

// content are a message's body, or what is said in its place.
func content() []member {
	return []member{
		may("body", stringSchema("the body, if it is UTF-8")),
		may("body_base64", about("the body, if it is not", Schema{"type": "string", "contentEncoding": "base64"})),
		may("too_large", countSchema("in place of a body that there was no room for: the size of all of it in bytes", 1)),
		may("retracted", about("in place of a body that was retracted", Schema{"const": true, "type": "boolean"})),
		may("expired", about("in place of a body that has expired", Schema{"const": true, "type": "boolean"})),
	}
}

var contents = []string{"body", "body_base64", "too_large", "retracted", "expired"}

func messageMembers() []member {
	members := append([]member{must("id", idSchema("a UUIDv7 of the server's"))}, between("its place in the conversation")...)
	members = append(members,
		must("sent_at", timeSchema("when it was stored")),
		may("edited_at", timeSchema("when it was last edited")),
		may("idempotency_key", stringSchema("shown to its sender only")),
		may("device", stringSchema("the sending device; shown to its sender only")),
		may("content_type", stringSchema("")),
		may("ref", SchemaRef("Ref")),
	)
	return append(members, content()...)
}

// eitherOr demands a side of the conversation, and one of the contents.
func eitherOr(s Schema, choices ...[]string) Schema {
	var all []Schema
	for _, names := range choices {
		all = append(all, Schema{"oneOf": oneOfRequired(names...)})
	}
	return s.with("allOf", all)
}

var sides = []string{"to", "room"}

func messageSchema() Schema {
	return eitherOr(closed("a message in its present state", messageMembers()...), sides, contents)
}

// numbered are what every entry of an inbox has.
func numbered(kind string) []member {
	return []member{
		must("inbox_seq", countSchema("its place in the inbox", 1)),
		may("after", countSchema("when it is not inbox_seq less one: the number up to which nothing else is due", 0)),
		must("epoch", stringSchema("the lineage of the database that inbox_seq belongs to")),
		must("type", always(kind)),
	}
}

func messageEntrySchema() Schema {
	return eitherOr(closed("a message that was sent", append(numbered("message"), messageMembers()...)...), sides, contents)
}

// eventMembers are those of an edit or a retraction.
func eventMembers(kind string) []member {
	members := append(numbered(kind), must("id", idSchema("of this event")))
	members = append(members, between("of the message that it is about")...)
	return append(members,
		must("ref", closed("the message that it is about", must("id", idSchema("")))),
		must("sent_at", timeSchema("")),
		may("idempotency_key", stringSchema("shown to who did it only")),
	)
}

func editEntrySchema() Schema {
	s := closed("the message with this seq has a new body", append(eventMembers("edit"), content()...)...)
	return eitherOr(s, sides)
}

func retractEntrySchema() Schema {
	return eitherOr(closed("the message with this seq was taken back", eventMembers("retract")...), sides)
}

func readEntrySchema() Schema {
	members := append(numbered("read"), between("up to here it has been read")...)
	return eitherOr(closed("from has read", append(members, must("sent_at", timeSchema("")))...), sides)
}

func roomEntrySchema() Schema {
	role := Schema{"type": "string", "enum": roleNames}
	events := Schema{"type": "string", "enum": []postbox.RoomAct{
		postbox.RoomCreated, postbox.RoomAdded, postbox.RoomJoined, postbox.RoomLeft,
		postbox.RoomRemoved, postbox.RoomRole, postbox.RoomUpdated, postbox.RoomDeleted,
	}}
	return closed("a change of a room", append(numbered("room"),
		must("room", nameSchema("")), must("from", nameSchema("who changed it")),
		must("event", about("what happened", events)), must("sent_at", timeSchema("")),
		may("user", nameSchema("of created, added, joined, left, removed and role: whom it is about")),
		may("role", about("of created, added, joined and role: the role now", role)),
		may("title", stringSchema("of created and updated: the title now")),
		may("public", flagSchema("the same: whether everybody may join")),
		may("history", about("the same: what a member may read", Schema{"type": "string", "enum": historyNames})))...)
}

func bareEntrySchema() Schema {
	kinds := Schema{"type": "string", "enum": []string{"message", "edit", "retract", "read", "room"}}
	members := numbered("")
	members[len(members)-1] = must("type", kinds)
	return closed("an entry of which nothing is known any more", members...)
}

func gapSchema() Schema {
	return closed("what lies between after and next cannot be had",
		must("type", always("gap")), must("epoch", stringSchema("the one in force")),
		must("code", about("expired: too old; epoch_changed: the database is another one than before", Schema{"type": "string", "enum": []string{"expired", "epoch_changed"}})),
		must("after", countSchema("the number before the gap", 0)), must("next", countSchema("the number where it goes on", 1)))
}

func entrySchema() Schema {
	return Schema{"description": "a line of an inbox", "oneOf": []Schema{
		SchemaRef("MessageEntry"), SchemaRef("EditEntry"), SchemaRef("RetractEntry"), SchemaRef("ReadEntry"),
		SchemaRef("RoomEntry"), SchemaRef("BareEntry"),
	}}
}

func conversationSchema() Schema {
	return eitherOr(closed("a conversation in the caller's list",
		may("with", nameSchema("of a direct conversation: the other side")), may("room", nameSchema("or the room")),
		may("last", SchemaRef("Message")),
		must("unread", about("others' messages after read_seq, counted to 1,000", Schema{"type": "integer", "minimum": 0, "maximum": 1000})),
		must("read_seq", countSchema("how far the caller has read", 0)),
		may("peer", closed("of a direct conversation: how far the other side is, as far as the caller may know",
			must("delivered_seq", countSchema("one of its devices has this", 0)),
			must("read_seq", countSchema("it has read this", 0)))),
	), []string{"with", "room"})
}

func profileSchema() Schema {
	return closed("the caller's own profile",
		must("user", nameSchema("")), must("display_name", stringSchema("free text; empty if there is none")),
		must("receipts", flagSchema("others see how far the caller has read")),
		must("accept", about("from whom the caller takes messages", Schema{"type": "string", "enum": acceptNames})),
		must("admin", flagSchema("")),
	)
}

func personSchema() Schema {
	return closed("what is shown of a user",
		must("user", nameSchema("")), must("display_name", stringSchema("free text; empty if there is none")))
}

func deviceSchema() Schema {
	return closed("a device with a session",
		must("device", stringSchema("its name: the MQTT client id")),
		must("cursor", countSchema("it has everything up to here", 0)),
		must("connected", flagSchema("")),
		may("connected_at", timeSchema("since when it is connected")),
		may("last_seen", timeSchema("when it was last connected")),
	)
}

func presenceSchema() Schema {
	return closed("whether a user has a device connected",
		must("user", nameSchema("")), must("online", flagSchema("")), may("last_seen", timeSchema("")))
}
