package proc

import "maps"

// Counts are totals since the Manager was opened.
type Counts struct {
	Launches   map[string]uint64 // by outcome: "running" or "fail"
	Restarts   uint64            // begun
	Leaked     map[string]int    // what the last audit found, by kind; no total
	Refused    uint64            // requests for a new proc, for want of disk
	HeldBack   bool              // layers, for the same; no total
	LogDropped map[string]uint64 // lines of output, by what did not take them: "syslog"
	Volumes    int               // that there are; no total
	Pressure   map[string]uint64 // errors, by what the host had too little of: PressureKinds
}

// Counts returns the totals so far.
func (m *Manager) Counts() Counts {
	volumes, err := m.cfg.Volumes.Count()
	if err != nil {
		m.log.Error("count volumes", "err", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts
	c.Volumes = volumes
	c.Launches = maps.Clone(c.Launches)
	c.LogDropped = maps.Clone(c.LogDropped)
	c.Leaked = maps.Clone(m.leaked)
	c.Pressure = maps.Clone(m.counts.Pressure)
	c.LogDropped["syslog"] = m.sink.Lost()
	return c
}

func (m *Manager) countRefused() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Refused++
}

func (m *Manager) countRestart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Restarts++
}

func (m *Manager) countLaunch(outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Launches[outcome]++
}
