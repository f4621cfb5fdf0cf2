// Package embedpg runs a PostgreSQL server as a child process of this one.
//
// [Start] finds the installed server programs, or fetches them if it may, makes a cluster on first use,
// starts it on a private unix socket and keeps it running: a postmaster that
// dies is started again, on the same socket. [Attach] finds a server that
// another process of this machine has started on the same directory.
//
// What the package guarantees:
//
//   - A data directory is never deleted and never initialised a second time. A
//     cluster is made beside its place and moved there when it is complete.
//   - fsync, full_page_writes and synchronous_commit are on (see
//     [Options.NoSync] for the one exception, made for tests).
//   - One server per directory: a lock that the kernel frees with the process.
//   - The child ends with its parent. On Linux the kernel tells it; elsewhere
//     the next Start on the directory stops it.
//   - Signals from the terminal do not reach the child: it has a process group
//     of its own, and ends when [Server.Stop] says so.
//   - Nothing listens on the network, and no other account of the machine can
//     open the socket: it lies in a directory of mode 0700.
//
// PostgreSQL refuses to run as root. Started by root, the package runs it as
// the account "postgres", or "nobody" where that does not exist.
//
// The schema, connection pools and backups are left to others.
package embedpg
