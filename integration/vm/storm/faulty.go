package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// faulty has the disk below the state folder answer with errors for a while, and says
// what is amiss then and when it is well again, after a restart of the hypervisor:
// ext4 does not write to a disk any more whose journal it could not write.
func faulty(dir string) error {
	if err := os.Chdir("/"); err != nil { // not in dir
		return err
	}
	if err := unix.Unmount(dir, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	d, err := mapDisk("/dev/vdc")
	if err != nil {
		return err
	}
	if err := unix.Mount(mapped, dir, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", mapped, err)
	}
	h, err := startHypervisor(dir)
	if err != nil {
		return err
	}
	ended, runs, err := h.before()
	if err != nil {
		return err
	}
	if err := d.fail(); err != nil {
		return err
	}
	amiss, err := h.onFaulty(ended, runs)
	if err != nil {
		return err
	}
	if err := errors.Join(h.cmd.Process.Kill(), d.heal()); err != nil {
		return err
	}
	_ = h.cmd.Wait() // killed
	if err := unmountSoon(dir); err != nil {
		return err
	}
	if err := unix.Mount(mapped, dir, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s again: %w", mapped, err)
	}
	if h, err = startHypervisor(dir); err != nil {
		return err
	}
	later, err := h.afterFaulty(ended, runs)
	if err != nil {
		return err
	}
	say(job.Checked, job.Seen{Amiss: append(amiss, later...)})
	return h.stop()
}

// before is a proc that has ended, and one that runs.
func (h *hypervisor) before() (ended, runs job.Seen, err error) {
	if ended, err = h.create("exits-7", "echo start; echo end; exit 7"); err != nil {
		return ended, runs, err
	}
	if ended, err = h.wait(ended.ID); err != nil {
		return ended, runs, err
	}
	if runs, err = h.create("obeys-0", "trap 'exit 0' TERM; echo start; while :; do read -t 1 <> <(:); done"); err != nil {
		return ended, runs, err
	}
	_, err = h.settled(context.Background())
	for log := ""; log == "" && err == nil; { // its trap is set
		err = h.ask(http.MethodGet, "/v1/procs/"+runs.ID+"/logs", nil, &log)
	}
	return ended, runs, err
}

// onFaulty is what is amiss while the disk is: new procs are refused with a reason,
// what is known is told, and what runs can be stopped.
func (h *hypervisor) onFaulty(ended, runs job.Seen) (amiss []string, err error) {
	for range 3 {
		s, err := h.create("refused", "true")
		if err == nil {
			return nil, fmt.Errorf("a new proc was taken on a disk that cannot be written to: %+v", s)
		}
		io, readOnly := strings.Contains(err.Error(), "input/output error"), strings.Contains(err.Error(), "read-only file system")
		if !io && !readOnly {
			amiss = append(amiss, "a new proc: "+err.Error())
		}
	}
	var l server.ProcList
	if err := h.ask(http.MethodGet, "/v1/procs", nil, &l); err != nil {
		return nil, err
	}
	if len(l.Procs) != 2 {
		amiss = append(amiss, fmt.Sprintf("of 2 procs these are listed: %+v", l.Procs))
	}
	if s, err := h.askProc(http.MethodGet, ended.ID, ""); err != nil || s.Code != ended.Code {
		amiss = append(amiss, fmt.Sprintf("a proc that had ended: %+v %v, was %+v", s, err, ended))
	}
	if s, err := h.askProc(http.MethodPost, runs.ID, "/stop"); err != nil || s.State != string(proc.Done) {
		amiss = append(amiss, fmt.Sprintf("a proc that was stopped: %+v %v", s, err))
	}
	return amiss, nil
}

// afterFaulty is what is amiss when the disk is well again.
func (h *hypervisor) afterFaulty(ended, runs job.Seen) (amiss []string, err error) {
	if _, err := h.wait(runs.ID); err != nil { // the hypervisor may have to find out how it ended
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := h.settled(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) != 2 {
		amiss = append(amiss, fmt.Sprintf("of 2 procs these are there: %+v", all))
	}
	for _, s := range all {
		switch {
		case s.ID == ended.ID && (s.State != ended.State || s.Code != ended.Code || s.Log != ended.Log || !s.Ended.Equal(ended.Ended)):
			amiss = append(amiss, fmt.Sprintf("a proc that had ended: %+v, was %+v", s, ended))
		case s.ID == runs.ID && s.State != string(proc.Done) && s.State != string(proc.Fail): // how it ended may not have come to the disk
			amiss = append(amiss, fmt.Sprintf("a proc that was stopped: %+v", s))
		}
	}
	s, err := h.create("exits-3", "echo start; echo end; exit 3")
	if err == nil {
		s, err = h.wait(s.ID)
	}
	if err != nil || s.Code != 3 {
		amiss = append(amiss, fmt.Sprintf("a new proc: %+v %v", s, err))
	}
	more, err := h.amiss(all)
	more = slices.DeleteFunc(more, func(text string) bool { // by what it was launched had not come to the disk
		return strings.Contains(text, "sandbox cannot be taken over") && strings.Contains(text, runs.ID)
	})
	return append(amiss, more...), err
}

func (h *hypervisor) askProc(method, id, path string) (job.Seen, error) {
	var p proc.Proc
	err := h.ask(method, "/v1/procs/"+id+path, nil, &p)
	return seen(p), err
}

// unmountSoon unmounts what sandboxes have had that the kernel is taking apart.
func unmountSoon(dir string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		err := unix.Unmount(dir, 0)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
}
