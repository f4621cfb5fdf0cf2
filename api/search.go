package api

import (
	"context"
	"regexp"

	"postbox"
)

// maxText is the most bytes of what may be looked for.
const maxText = 1024

// searchable is in every text that has something to look for: a letter, a digit
// or a symbol such as an emoji.
const searchable = `[\p{L}\p{N}\p{So}]`

var hasSearchable = regexp.MustCompile(searchable)

func checkSearchable(s string) error {
	if !hasSearchable.MatchString(s) {
		return postbox.Errorf(postbox.CodeInvalid, "there is nothing to look for: give at least a letter, a digit or a symbol")
	}
	return nil
}

func searchOperation() *operation {
	return &operation{Operation{
		Name: "search", Summary: "Find messages by their words", Reads: true,
		Doc: "Messages that have all words of the text, the newest first: as they are now, so neither what was retracted or has expired, nor what an edit took away. " +
			"A word with a star behind it, as hel*, stands for all that begin with it, if it has three characters; \"words in quotation marks\" must follow each other. " +
			"Capitals and small letters are the same, letters with and without diacritics are not. Chinese, Japanese, Korean and Thai are found by any characters that follow each other. " +
			"What has just come to the caller's inbox is found at once, anything else at most five seconds after it was stored, or half a minute where more is sent than the server can take. For the next page ask with before, the id of the last message.",
		Fields: append([]Field{
			required(Field{Name: "text", Doc: "words to look for", Max: maxText, Pattern: searchable, check: checkSearchable}),
		}, append(place(),
			userField("from", "only messages of this user"),
			boundField("before", "older than this; a seq only together with with or room"),
			boundField("after", "newer than this; a seq only together with with or room"),
			limitField("messages"))...),
		AtMostOne: [][]string{{"with", "room"}},
		Reply: reply(
			must("messages", arrayOf("newest first", SchemaRef("Message"))),
			must("has_more", flagSchema("there are older ones")),
		),
		Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).search}
}

func (a *API) search(ctx context.Context, c *call) error {
	r := postbox.SearchRequest{
		User: c.caller.ID, Text: c.in.get("text").text, From: postbox.User(c.in.get("from").text),
		Before: c.in.get("before").bound, After: c.in.get("after").bound, Limit: c.limit(),
	}
	if c.in.get("with").set || c.in.get("room").set {
		p, err := a.place(ctx, c)
		if err != nil {
			return err
		}
		r.Place = &p
	} else if err := c.noSeq("before", "after"); err != nil {
		return err
	}
	found, more, err := a.o.Archive.Search(ctx, r)
	if err != nil {
		return err
	}
	now := a.o.Now()
	var list items
	list.buf = make([]byte, 0, sizeOf(found))
	for _, m := range found {
		list.next()
		list.buf = postbox.AppendMessage(list.buf, m, m.Sender == c.caller.ID, now)
		list.done()
	}
	hi := list.fit(c.room())
	if hi == 0 && len(found) > 0 {
		// Not even one has room: it goes without its body.
		list.withoutBody(found[0], c.caller, now)
		hi = 1
	}
	c.out.list("messages", &list, 0, hi)
	c.out.flag("has_more", more || hi < len(found))
	return nil
}

// noSeq refuses bounds that are a seq where no conversation is named.
func (c *call) noSeq(names ...string) error {
	for _, name := range names {
		if b := c.in.get(name).bound; b.Set && b.ID == (postbox.MessageID{}) && b.Time.IsZero() {
			return postbox.Errorf(postbox.CodeInvalid, "%s is a seq, which counts within one conversation: name it by with or room, or give an id or a time", name)
		}
	}
	return nil
}
