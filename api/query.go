package api

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"postbox"
)

// QueryRequest makes the request of an operation from the parameters of an
// address: what is a number or true or false there is one here, and an array is
// given by naming it more than once or with commas.
func (a *API) QueryRequest(name string, query url.Values) ([]byte, *postbox.Error) {
	op := a.find(name)
	if op == nil {
		return nil, postbox.Errorf(postbox.CodeNotFound, "there is no operation %s", quote(name))
	}
	var o object
	names := make([]string, 0, len(query))
	for field := range query {
		names = append(names, field)
	}
	slices.Sort(names) // so that of two faults the same one is told each time
	for _, field := range names {
		i := op.find(field, EdgeHTTP)
		if i < 0 {
			return nil, postbox.Errorf(postbox.CodeInvalid, "unknown field %s: %s takes %s", quote(field), name, op.names(EdgeHTTP))
		}
		f, values := &op.Fields[i], query[field]
		if len(values) > 1 && f.Kind != KindNames {
			return nil, postbox.Errorf(postbox.CodeInvalid, "the field %s is given twice", quote(field))
		}
		for _, v := range values {
			if !utf8.ValidString(v) {
				return nil, postbox.Errorf(postbox.CodeInvalid, "%s is not UTF-8", field)
			}
		}
		o.key(field)
		o.buf = f.appendParameter(o.buf, values)
	}
	return o.end(), nil
}

func (f *Field) appendParameter(dst []byte, values []string) []byte {
	v := values[0]
	switch f.Kind {
	case KindNames:
		dst = append(dst, '[')
		for i, name := range strings.Split(strings.Join(values, ","), ",") {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = postbox.AppendString(dst, name)
		}
		return append(dst, ']')
	case KindNumber, KindBound:
		if isNumber(v) {
			return append(dst, v...)
		}
	case KindFlag:
		if v == "true" || v == "false" {
			return append(dst, v...)
		}
	}
	return postbox.AppendString(dst, v)
}

// isNumber reports whether s is an integer as JSON writes it.
func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == "" && (digits == "0" || digits[0] != '0')
}
