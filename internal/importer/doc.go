// Package importer brings the users and messages of another application into
// Postbox: two tables, in MySQL, MariaDB or PostgreSQL, or as CSV files.
//
// The other side is read once, in pages by its key, and sorted by time on disk. All
// that cannot be taken is known, and told, before anything is written. Each message
// has a name there, which becomes its idempotency key: so an import may be killed at
// any point and run again, and takes what has come since.
package importer
