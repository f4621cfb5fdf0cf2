package client

import (
	"errors"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"postbox"
)

// ErrClosed is returned by the methods of a Client once Close was called.
var ErrClosed = errors.New("client is closed")

// refusalOf translates the return code of a CONNACK (docs/spec.md §9) back
// into the server's error; nil for codes that are none of its.
func refusalOf(code byte, o Options) *postbox.Error {
	switch code {
	case packets.ErrRefusedBadProtocolVersion:
		return postbox.Errorf(postbox.CodeInvalid, "the server does not speak MQTT 3.1.1")
	case packets.ErrRefusedIDRejected:
		return postbox.Errorf(postbox.CodeInvalid, "the server does not take the device name %q", o.Device)
	case packets.ErrRefusedServerUnavailable:
		return postbox.Errorf(postbox.CodeUnavailable, "the server cannot check the login now: try again later")
	case packets.ErrRefusedBadUsernameOrPassword:
		return postbox.Errorf(postbox.CodeUnauthenticated, "the user name %s or the password is wrong, or the token has ended", o.User)
	case packets.ErrRefusedNotAuthorised:
		return postbox.Errorf(postbox.CodeUnauthenticated, "the user %s may not connect: the account is disabled", o.User)
	}
	return nil
}

// final reports whether connecting again cannot help.
func final(err error) bool {
	return errors.Is(err, postbox.ErrUnauthenticated) || errors.Is(err, postbox.ErrInvalid)
}
