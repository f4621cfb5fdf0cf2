package bench

import "bytes"

// A body is the marker, four fields of fixed-width hex and padding:
//
//	pbx: run(8) sender(4) counter(8) sent(16) padding…
//
// It is printable ASCII that JSON does not escape, so a receiver finds it by its
// marker wherever a broker puts it, and can compare the padding byte by byte.
const (
	marker = "pbx:"

	runDigits     = 8
	senderDigits  = 4
	counterDigits = 8
	sentDigits    = 16

	// MinBodySize is the size of a body without padding, in bytes.
	MinBodySize = len(marker) + runDigits + senderDigits + counterDigits + sentDigits

	// maxBodySize keeps a packet well below the read buffer.
	maxBodySize = 128 << 10

	hexDigits = "0123456789abcdef"
	paddingOf = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// stamp is what a body says about its message.
type stamp struct {
	run     uint32
	sender  uint16
	counter uint32
	// sent is nanoseconds since the start of the run.
	sent int64
}

// newBody makes a body of size bytes with zero stamps, to be filled by put.
func newBody(size int) []byte {
	body := make([]byte, size)
	copy(body, marker)
	for i := len(marker); i < MinBodySize; i++ {
		body[i] = '0'
	}
	for i := MinBodySize; i < size; i++ {
		body[i] = paddingOf[(i-MinBodySize)%len(paddingOf)]
	}
	return body
}

// put writes s into the first MinBodySize bytes of body.
func (s stamp) put(body []byte) {
	at := len(marker)
	for _, field := range [...]struct {
		value  uint64
		digits int
	}{
		{uint64(s.run), runDigits},
		{uint64(s.sender), senderDigits},
		{uint64(s.counter), counterDigits},
		{uint64(s.sent), sentDigits},
	} {
		value := field.value
		for i := at + field.digits - 1; i >= at; i-- {
			body[i] = hexDigits[value&15]
			value >>= 4
		}
		at += field.digits
	}
}

// findStamp looks for a body in payload. The padding that follows the stamp is
// whole only if intact; ok is false if there is no readable stamp at all.
func findStamp(payload, padding []byte) (s stamp, intact, ok bool) {
	at := bytes.Index(payload, []byte(marker))
	if at < 0 || len(payload)-at < MinBodySize {
		return stamp{}, false, false
	}
	rest := payload[at+len(marker):]
	var fields [4]uint64
	for i, digits := range [...]int{runDigits, senderDigits, counterDigits, sentDigits} {
		value, valid := parseHex(rest[:digits])
		if !valid {
			return stamp{}, false, false
		}
		fields[i], rest = value, rest[digits:]
	}
	s = stamp{run: uint32(fields[0]), sender: uint16(fields[1]), counter: uint32(fields[2]), sent: int64(fields[3])}
	return s, bytes.HasPrefix(rest, padding), true
}

// parseHex reads lower-case hex digits.
func parseHex(digits []byte) (value uint64, ok bool) {
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			value = value<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			value = value<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return value, true
}
