package hooks

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// localClient names, to Mochi, who publishes what the server itself has to say.
const localClient = "postbox"

// newLocal makes that client. It has no connection, and Mochi checks nothing of
// what it publishes.
func newLocal(server *mqtt.Server) *mqtt.Client {
	local := server.NewClient(nil, "local", localClient, true)
	local.Properties.ProtocolVersion = 5
	return local
}

// fanOut hands a publish to Mochi, which carries it to all that are subscribed,
// at QoS 0. It does not wait: whose queue is full does not get it.
func (h *Hook) fanOut(pk packets.Packet) {
	pk.FixedHeader.Type = packets.Publish
	if err := h.server.InjectPacket(h.local, pk); err != nil {
		h.o.Logger.Error("mochi did not take a publish of the server's own", "error", err)
	}
}
