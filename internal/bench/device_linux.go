package bench

import (
	"errors"
)

// device is one online device of a recipient.
type device struct {
	conn
	protocol Protocol
	tally    *tally
	// from is the only sender that this device should hear of.
	from *sender
	// padding follows the stamp in every body.
	padding []byte
	stream  stream
}

// packet takes a delivery, checks it and puts its acknowledgement into the
// output.
func (d *device) packet(header byte, body []byte, now int64) error {
	switch header & typeMask {
	case typePublish:
	case typePingresp:
		return nil
	default:
		return unexpected(header, body)
	}
	p, err := parsePublish(d.protocol, header, body)
	if err != nil {
		return err
	}
	if p.qos == 2 {
		return errors.New("delivery at QoS 2 to a subscription at QoS 1")
	}
	if p.qos == 1 {
		d.out = append(d.out, typePuback, 2, byte(p.packetID>>8), byte(p.packetID))
	}
	d.check(p.payload, now)
	return nil
}

// check files a payload in the stream.
func (d *device) check(payload []byte, now int64) {
	s, intact, ok := findStamp(payload, d.padding)
	switch {
	case !ok:
		d.stream.corrupt++
	case s.run != d.tally.run:
		d.stream.foreign++
	case int(s.sender) != d.from.index:
		d.stream.misrouted++
	case !intact || s.counter >= d.from.next:
		d.stream.corrupt++
	default:
		before := d.stream.distinct
		d.stream.observe(s.counter)
		if d.stream.distinct > before {
			d.tally.deliveredAt(now, s.sent)
		}
	}
}

// batchEnd sends the acknowledgements of one read in one write.
func (d *device) batchEnd(now int64) error { return d.flush(now) }

// complete says whether all that its sender was promised has come.
func (d *device) complete() bool {
	return d.stream.distinct >= d.from.succeeded && d.missing() == 0
}

// missing counts what was acknowledged to the sender and has not come.
func (d *device) missing() int {
	return d.from.acknowledged.countMissingFrom(d.stream.seen)
}
