// Package mqtttest is an MQTT connection for tests: it says exactly what a test
// wants said, malformed things too, and reads only when it is asked to. It keeps
// no session and answers nothing by itself.
//
// It fails the test where the peer does not do what it must; its methods are
// for the goroutine of the test, except Next and Vanish, which any may call.
package mqtttest
