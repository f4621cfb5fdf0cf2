// Package web is the HTTP edge of Postbox: the public address, where WebSocket
// connections become MQTT ones, and the private address, which tells how the
// server is.
package web
