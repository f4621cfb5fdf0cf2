package apitest

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"postbox"
)

// Search implements api.Archive: all words of a text, anywhere in a body.
func (w *World) Search(ctx context.Context, r postbox.SearchRequest) ([]*postbox.Message, bool, error) {
	if err := w.begin(ctx); err != nil {
		return nil, false, err
	}
	defer w.Unlock()
	words := strings.Fields(strings.ToLower(r.Text))
	if len(words) == 0 {
		return nil, false, postbox.Errorf(postbox.CodeInvalid, "text has nothing to look for")
	}
	if r.From != "" && w.Users[r.From] == nil {
		return nil, false, postbox.Errorf(postbox.CodeNotFound, "there is no user %s", r.From)
	}
	me := w.person(r.User).Name
	var all []*postbox.Message
	for _, c := range w.Talks {
		if r.Place != nil && c.ID != r.Place.Conversation || !slices.Contains(c.Users, me) {
			continue
		}
		for _, m := range c.Messages {
			misses := func(word string) bool { return !strings.Contains(strings.ToLower(string(m.Body)), word) }
			if (r.From == "" || m.From == r.From) && m.RetractedAt.IsZero() && !slices.ContainsFunc(words, misses) {
				all = append(all, m)
			}
		}
	}
	slices.SortFunc(all, func(a, b *postbox.Message) int {
		return cmp.Or(b.SentAt.Compare(a.SentAt), cmp.Compare(b.Conversation, a.Conversation), cmp.Compare(b.Seq, a.Seq))
	})
	lo, hi := 0, len(all)
	for i, m := range slices.Backward(all) {
		if bound(r.Before, m) <= 0 {
			lo = max(lo, i+1)
		}
		if r.After.Set && bound(r.After, m) >= 0 {
			hi = min(hi, i)
		}
	}
	all = all[min(lo, hi):hi]
	n := min(r.Limit, len(all))
	return all[:n], n < len(all), nil
}

// bound is 1 if a bound is after a message, 0 if it is at it; 1 too if there is none.
func bound(b postbox.Bound, m *postbox.Message) int {
	switch {
	case !b.Set:
		return 1
	case !b.Time.IsZero():
		return b.Time.Compare(m.SentAt)
	case b.ID != postbox.MessageID{}:
		return slices.Compare(b.ID[:], m.ID[:])
	}
	return cmp.Compare(b.Seq, m.Seq)
}
