package bench

// spent is the processor time that the processes and this one have used so far.
func (p Processes) spent() (s Spent, err error) {
	if p.Server != 0 {
		server, err := readProcess(p.Server)
		if err != nil {
			return s, err
		}
		s.Server = server.self // an embedded PostgreSQL is a child of it
	}
	if p.Database != 0 {
		if s.Database, err = familyTime(p.Database); err != nil {
			return s, err
		}
	}
	s.Generator, err = ownTime()
	return s, err
}
