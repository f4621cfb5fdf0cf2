package inbox

import "postbox"

// gap tells the device that what lies before next cannot be had. Until that is
// acknowledged the cursor stays where the gap begins: a device that is cut off
// before is told again.
func (s *Subscription) gap(code postbox.Code, next postbox.InboxSeq) {
	id := s.gapID()
	told, after := s.outlet.Gap(code, s.handed, next, id), s.next-1
	s.handed, s.next = next-1, next
	if told {
		s.hub.metrics.gaps.WithLabelValues(string(code)).Inc()
	}
	switch {
	case told && s.device.QoS > 0:
		s.awaits(outstanding{seq: next - 1, after: after, packetID: id})
	case len(s.out) == 0:
		s.heard()
		s.moveCursor(next - 1)
	}
}

// gapID is a packet id that no entry has, and no other gap that may be
// outstanding.
func (s *Subscription) gapID() uint16 {
	const ids = maxPacketID - postbox.DeliveryIDs
	id := postbox.DeliveryIDs + 1 + s.gaps%ids
	s.gaps++
	return id
}

const maxPacketID = 65535

// heard notes that the device knows of what it had to hear first. From now on
// its cursor is one of this epoch, also if it is the same number.
func (s *Subscription) heard() {
	if s.unheard != "" {
		s.unheard = ""
		s.mark()
	}
}
