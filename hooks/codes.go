package hooks

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// ackReason is the reason code with which MQTT 5 refuses a publish
// (docs/spec.md §9).
func ackReason(e *postbox.Error) byte {
	switch e.Code {
	case postbox.CodeInvalid, postbox.CodeNotFound:
		return packets.ErrTopicNameInvalid.Code // 0x90
	case postbox.CodeForbidden:
		return packets.ErrNotAuthorized.Code // 0x87
	case postbox.CodeConflict:
		return packets.ErrImplementationSpecificError.Code // 0x83
	case postbox.CodeTooLarge, postbox.CodeRateLimited:
		return packets.ErrQuotaExceeded.Code // 0x97
	}
	return packets.ErrUnspecifiedError.Code // 0x80
}

// connackCode is the return code of a refused CONNECT, for each protocol.
func connackCode(e *postbox.Error, v5 bool) packets.Code {
	var five, three byte
	switch e.Code {
	case postbox.CodeInvalid:
		five, three = packets.ErrClientIdentifierNotValid.Code, 2 // 0x85
	case postbox.CodeUnauthenticated:
		five, three = packets.ErrBadUsernameOrPassword.Code, 4 // 0x86
	case postbox.CodeForbidden:
		five, three = packets.ErrNotAuthorized.Code, 5 // 0x87
	case postbox.CodeNotFound: // of a will; 3.1.1 has nothing nearer
		five, three = packets.ErrTopicNameInvalid.Code, 5 // 0x90
	case postbox.CodeTooLarge: // of a will
		five, three = packets.ErrQuotaExceeded.Code, 5 // 0x97
	case errCrowded.Code:
		five, three = packets.ErrQuotaExceeded.Code, 3 // 0x97
	case errAuthMethod.Code:
		five, three = packets.ErrBadAuthenticationMethod.Code, 5 // 0x8C
	case errDisabled.Code:
		five, three = packets.ErrBanned.Code, 5 // 0x8A
	default:
		five, three = packets.ErrServerUnavailable.Code, 3 // 0x88
	}
	if v5 {
		return packets.Code{Code: five, Reason: e.Error()}
	}
	return packets.Code{Code: three}
}

// errAuthMethod refuses an enhanced authentication, of which Mochi would take
// any for a success [MQTT-4.12.0-1].
var errAuthMethod = &postbox.Error{Code: "auth_method", Message: "there is no enhanced authentication: give a user name and a password"}

// errCrowded refuses a user who has as many connections as one may have. It may
// be tried again.
var errCrowded = &postbox.Error{Code: "crowded", Message: "the user has as many connections as one may have: close some"}

// codeDisabled is not on the wire: a disabled account is unauthenticated with
// a reason code of its own.
const codeDisabled postbox.Code = "disabled"

var errDisabled = &postbox.Error{Code: codeDisabled, Message: "the account is disabled"}

// ErrDisabled is what Accounts returns for a disabled account.
var ErrDisabled error = errDisabled
