package inbox

import "postbox"

// Outlet is a device's connection as delivery sees it. Its methods are called
// under the lock of the user's mailbox: they must not block and must not call
// the subscription.
type Outlet interface {
	// Deliver queues one delivery on the connection. False: the device cannot
	// take it in any form and is spared it.
	Deliver(d Delivery) bool
	// Gap queues the news that what lies between after and next cannot be had
	// any more, under a packet id that no entry has. False: the device cannot
	// take it.
	Gap(code postbox.Code, after, next postbox.InboxSeq, packetID uint16) bool
	// Flush lets what was queued go out.
	Flush()
	// Ready reports whether the connection would take more now. An outlet
	// that is not ready calls Subscription.Resume when it is again.
	Ready() bool
}

// Delivery is one entry for one device.
type Delivery struct {
	Entry *postbox.Entry
	After postbox.InboxSeq // see postbox.View
	QoS   byte             // 0 or 1
	Dup   bool             // may have been sent before
	First bool             // cannot have been sent on a connection before this one
}
