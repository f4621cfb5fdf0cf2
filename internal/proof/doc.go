// Package proof holds the end-to-end proofs of Postbox and the harness they
// run on. Everything here is black box: the real binary, unmodified MQTT
// clients in processes of their own, a real PostgreSQL, and a tap on the wire
// that decides what counts as acknowledged.
//
// Nothing in this package is linked into the product. The proofs fail, and
// never skip, when a tool they need (node, npm, mosquitto_pub, mosquitto_sub,
// PostgreSQL) is missing.
//
// Sizes follow the environment: POSTBOX_TEST_SOAK=1 runs the long forms.
package proof
