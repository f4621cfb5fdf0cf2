// Package auth decides who somebody is and what they may do: password hashes,
// our own access tokens, which proxies are believed about where a request comes
// from, and whether one user may write to another.
//
// It decides, and leaves to others what decisions need: facts about users come
// from the caller, keys and hashes from its store. A refusal is a *postbox.Error
// whose sentence a stranger may read; any other error is a fault of ours.
package auth
