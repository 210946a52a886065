package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Usage is the answer of GET /v1/procs/{id}/usage: what a running proc uses, and what
// it may.
type Usage struct {
	CPU         float64 `json:"cpu_seconds"` // so far
	Memory      uint64  `json:"memory"`      // bytes
	MemoryPeak  uint64  `json:"memory_peak,omitempty"`
	MemoryLimit uint64  `json:"memory_limit"`
	Pids        uint64  `json:"pids"`
	PidsLimit   uint64  `json:"pids_limit"`
	Disk        uint64  `json:"disk,omitempty"` // bytes of its layer; none of these where the disk has no limit
	DiskLimit   uint64  `json:"disk_limit,omitempty"`
	Inodes      uint64  `json:"inodes,omitempty"`
	InodesLimit uint64  `json:"inodes_limit,omitempty"`

	Volumes []VolumeUsage `json:"volumes,omitempty"` // those that have a size
}

// VolumeUsage is how full a volume is.
type VolumeUsage struct {
	Target      string `json:"target"`
	Disk        uint64 `json:"disk"` // bytes
	DiskLimit   uint64 `json:"disk_limit"`
	Inodes      uint64 `json:"inodes"`
	InodesLimit uint64 `json:"inodes_limit"`
}

// procUsage tells what a running proc uses.
func (s *Server) procUsage(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	if _, err := queryOf(c); err != nil {
		return err
	}
	u, err := s.cfg.Procs.Usage(id)
	if err != nil {
		return err
	}
	var volumes []VolumeUsage
	for _, v := range u.Volumes {
		volumes = append(volumes, VolumeUsage(v))
	}
	return s.answer(c, http.StatusOK, Usage{
		CPU: u.CPU.Seconds(), Memory: u.Memory, MemoryPeak: u.MemoryPeak, MemoryLimit: u.MemoryLimit, Pids: u.Pids, PidsLimit: u.PidsLimit,
		Disk: u.Disk, DiskLimit: u.DiskLimit, Inodes: u.Inodes, InodesLimit: u.InodesLimit,
		Volumes: volumes,
	})
}
