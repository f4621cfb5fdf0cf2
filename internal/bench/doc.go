// Package bench is a load generator for MQTT brokers: it says how fast a broker
// acknowledges and delivers, and whether it lost, repeated or reordered
// anything on the way.
//
// Each of N senders publishes at QoS 1 to one recipient of its own, with up to W
// publishes unacknowledged; each recipient has D devices online, which
// acknowledge what they get. Every body carries the run, the sender, a counter
// and the time of sending, so each device's stream can be checked message by
// message, whether the broker delivers the bytes as they were sent or inside an
// envelope of its own.
//
// The generator usually shares its processors with the broker, so it is built to
// cost little: one thread, one epoll set, one read and one write per batch of
// packets, nothing allocated per message. What it does cost is in the report.
//
// What devices do beside that has runs of its own: [Room], [Connect] for idle
// connections and their return, [CatchUp] for what was missed, [Mixed] for all at once,
// and [History] and [Search] over HTTP.
//
// It knows MQTT 3.1.1 and 5 over plain TCP, and nothing of any particular
// broker: what a broker needs beforehand (accounts) and what shows that its
// storage is honest (settings of a database) come in through [Options].
package bench
