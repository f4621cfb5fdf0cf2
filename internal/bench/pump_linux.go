package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
)

// pump publishes n messages at QoS 1 for MQTT 3.1.1, at most window of them
// unacknowledged, and returns when all are acknowledged.
func pump(conn net.Conn, window, n int, message func(i int) (topic string, body []byte)) error {
	in := bufio.NewReaderSize(conn, 4<<10)
	var out []byte
	for sent, acknowledged := 0, 0; acknowledged < n; {
		out = out[:0]
		for sent < n && sent-acknowledged < window {
			topic, body := message(sent)
			packet, idAt, _ := publishTemplate(MQTT311, topic, body)
			binary.BigEndian.PutUint16(packet[idAt:], uint16(sent%60_000)+1)
			out = append(out, packet...)
			sent++
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		for first := true; first || in.Buffered() > 0; first = false {
			header, body, err := readPacket(in)
			switch {
			case err != nil:
				return fmt.Errorf("wait for PUBACK: %w", err)
			case header&typeMask == typePingresp:
			case header&typeMask != typePuback:
				return unexpected(header, body)
			default:
				acknowledged++
			}
		}
	}
	return nil
}
