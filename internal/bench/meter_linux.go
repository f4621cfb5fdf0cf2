package bench

import "time"

// meter takes the processor time and memory of everything that has a part in a
// run.
type meter struct {
	serverPID, databasePID int

	begin, end usage
	memory     Memory
	peakBefore int64
}

// usage is processor time since some past moment.
type usage struct {
	server, database, generator, machine, steal time.Duration
}

// newMeter notes the server's memory before the first connection.
func newMeter(serverPID, databasePID int) (*meter, error) {
	m := &meter{serverPID: serverPID, databasePID: databasePID}
	if serverPID == 0 {
		return m, nil
	}
	var err error
	if m.memory.Idle, err = residentSize(serverPID); err != nil {
		return nil, err
	}
	m.memory.Peak = m.memory.Idle
	m.peakBefore, err = residentPeak(serverPID)
	return m, err
}

// read takes all times at once.
func (m *meter) read() (u usage, err error) {
	if m.serverPID != 0 {
		stat, err := readProcess(m.serverPID)
		if err != nil {
			return u, err
		}
		u.server = stat.self
	}
	if m.databasePID != 0 {
		if u.database, err = familyTime(m.databasePID); err != nil {
			return u, err
		}
	}
	if u.generator, err = ownTime(); err != nil {
		return u, err
	}
	u.machine, u.steal, err = machineTime()
	return u, err
}

// sample looks at the server's memory.
func (m *meter) sample() {
	if m.serverPID == 0 {
		return
	}
	if size, err := residentSize(m.serverPID); err == nil {
		m.memory.Peak = max(m.memory.Peak, size)
	}
}

// peakMemory closes the account of memory. The kernel's own high mark is exact,
// but it is the run's only if the run has raised it.
func (m *meter) peakMemory() *Memory {
	if m.serverPID == 0 {
		return nil
	}
	m.sample()
	if peak, err := residentPeak(m.serverPID); err == nil && peak > m.peakBefore {
		m.memory.Peak = max(m.memory.Peak, peak)
	}
	return &m.memory
}

// cpu gives the times between begin and end for a window of the given length in
// which so many messages were acknowledged.
func (m *meter) cpu(window time.Duration, acknowledged int) CPU {
	per10k := func(measured bool, d time.Duration) *float64 {
		if !measured || acknowledged == 0 {
			return nil
		}
		v := d.Seconds() / float64(acknowledged) * 10_000
		return &v
	}
	cores := func(d time.Duration) float64 { return d.Seconds() / window.Seconds() }

	server, database := m.end.server-m.begin.server, m.end.database-m.begin.database
	generator, machine := m.end.generator-m.begin.generator, m.end.machine-m.begin.machine
	c := CPU{
		ServerPer10k:    per10k(m.serverPID != 0, server),
		DatabasePer10k:  per10k(m.databasePID != 0, database),
		GeneratorPer10k: per10k(true, generator),
		Generator:       cores(generator),
		Busy:            cores(machine),
		Steal:           cores(m.end.steal - m.begin.steal),
	}
	if m.serverPID != 0 {
		others := max(cores(machine-server-database-generator), 0)
		c.Others = &others
	}
	return c
}
