package postbox

import "strconv"

// MaxSignal is the most bytes of a signal's body.
const MaxSignal = 4 << 10

// Signal is what goes to the devices that are online now, and is not kept.
type Signal struct {
	Sender UserID
	From   User
	Device string // the sending client id; empty if there is none
	To     User   // else empty
	Room   Room   // else empty
	Body   []byte
}

// AppendSignal appends s as the JSON object of docs/spec.md §4.
func AppendSignal(dst []byte, s *Signal) []byte {
	dst = append(dst, `{"type":"signal","from":"`...)
	dst = append(dst, s.From...)
	if s.Room != "" {
		dst = append(dst, `","room":"`...)
		dst = append(dst, s.Room...)
	} else {
		dst = append(dst, `","to":"`...)
		dst = append(dst, s.To...)
	}
	return append(appendBody(append(dst, '"'), s.Body), '}')
}

// Receipt says how far a direct conversation has come to the devices of one side:
// From has what To has sent, up to Seq.
type Receipt struct {
	FromID, ToID UserID
	From, To     User
	Seq          Seq
}

// AppendDelivered appends r as the JSON object of docs/spec.md §4.
func AppendDelivered(dst []byte, r Receipt) []byte {
	dst = append(dst, `{"type":"delivered","from":"`...)
	dst = append(dst, r.From...)
	dst = append(dst, `","to":"`...)
	dst = append(dst, r.To...)
	dst = append(dst, `","seq":`...)
	return append(strconv.AppendInt(dst, int64(r.Seq), 10), '}')
}
