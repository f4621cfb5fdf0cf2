package embedpg

import "errors"

var (
	// ErrNotRunning says that no server runs on the directory.
	ErrNotRunning = errors.New("no embedded postgresql is running")
	// ErrStarting says that the server of the directory does not take
	// connections yet. Trying again after a moment helps.
	ErrStarting = errors.New("the embedded postgresql is still starting")
	// ErrInUse says that another process serves the directory.
	ErrInUse = errors.New("the data directory is in use")
	// ErrNoBinaries says that no usable PostgreSQL server programs were found.
	ErrNoBinaries = errors.New("no postgresql server programs found")
	// ErrVersion says that the data directory was made by a major version of
	// PostgreSQL whose programs are not here.
	ErrVersion = errors.New("wrong postgresql version")
	// ErrUnreachable says that the account that PostgreSQL runs as cannot enter
	// the directory or run the programs.
	ErrUnreachable = errors.New("out of reach for the account")
	// ErrUnsupported says that this operating system cannot run an embedded
	// server.
	ErrUnsupported = errors.New("embedded postgresql is not supported on this operating system: set database.url")
)
