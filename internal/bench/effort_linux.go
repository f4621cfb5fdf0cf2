package bench

import "time"

// effort is the processor time that a server and its database have had when it was
// begun.
type effort struct {
	serverPID, databasePID int
	server, database       time.Duration
}

// newEffort looks at the processes; 0 is none.
func newEffort(serverPID, databasePID int) (*effort, error) {
	e := &effort{serverPID: serverPID, databasePID: databasePID}
	var err error
	e.server, e.database, err = e.read()
	return e, err
}

// read takes the times. An embedded database is a child of its server, whose own
// time is meant.
func (e *effort) read() (server, database time.Duration, err error) {
	if e.serverPID != 0 {
		stat, err := readProcess(e.serverPID)
		if err != nil {
			return 0, 0, err
		}
		server = stat.self
	}
	if e.databasePID != 0 {
		database, err = familyTime(e.databasePID)
	}
	return server, database, err
}

// per gives the seconds since, for each of so many units.
func (e *effort) per(units float64) (server, database float64, err error) {
	s, d, err := e.read()
	if err != nil || units == 0 {
		return 0, 0, err
	}
	return (s - e.server).Seconds() / units, (d - e.database).Seconds() / units, nil
}
