package api

import "slices"

// operations makes the list of docs/spec.md §7, in its order.
func operations(l Limits) []*operation {
	return slices.Concat([]*operation{
		sendOperation(l), historyOperation(), syncOperation(), conversationsOperation(), readOperation(),
		editOperation(l), retractOperation(), searchOperation(),
	}, roomOperations(), []*operation{
		signalOperation(), presenceOperation(),
		blockOperation(), unblockOperation(), blocksOperation(),
		devicesOperation(), revokeOperation(),
		meOperation(), updateOperation(), passwordOperation(), profileOperation(), eraseOperation(),
		registerOperation(), loginOperation(), refreshOperation(), streamTokenOperation(), loginsOperation(), logoutOperation(),
		usersOperation(), userAddOperation(), userPasswordOperation(), userDisableOperation(), userEnableOperation(),
		userRevokeOperation(), userAdminOperation(), inviteAddOperation(), inviteListOperation(), inviteRemoveOperation(),
	})
}
