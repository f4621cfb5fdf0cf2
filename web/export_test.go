package web

import "postbox"

// Held is how many requests of a user are held open.
func Held(a *API, user postbox.UserID) int {
	a.held.mu.Lock()
	defer a.held.mu.Unlock()
	return len(a.held.users[user])
}
