package api

// operations makes the list of docs/spec.md §7, in its order.
func operations(l Limits) []*operation {
	return []*operation{
		sendOperation(l), historyOperation(), syncOperation(), conversationsOperation(), readOperation(),
		editOperation(l), retractOperation(), presenceOperation(),
		blockOperation(), unblockOperation(), blocksOperation(),
		devicesOperation(), revokeOperation(),
		meOperation(), updateOperation(), profileOperation(),
	}
}
