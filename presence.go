package postbox

// AppendPresence appends what a device receives on presence/{user}: a JSON object
// of docs/spec.md §3. The moment when the user was last seen is left out while
// online, and when it is not known.
func AppendPresence(dst []byte, p PresenceState) []byte {
	dst = append(dst, `{"type":"presence","user":"`...)
	dst = append(dst, p.User...)
	dst = append(dst, `","online":`...)
	if p.Online {
		return append(dst, `true}`...)
	}
	dst = append(dst, `false`...)
	if !p.LastSeen.IsZero() {
		dst = append(dst, `,"last_seen":"`...)
		dst = append(AppendTime(dst, p.LastSeen), '"')
	}
	return append(dst, '}')
}
