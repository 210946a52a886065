package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
)

func (f *fakeProcs) Volumes() ([]proc.Volume, error) { return f.volumes, nil }

func (f *fakeProcs) Volume(name string) (proc.Volume, error) {
	at := slices.IndexFunc(f.volumes, func(v proc.Volume) bool { return v.Name == name })
	if at < 0 {
		return proc.Volume{}, proc.ErrNoVolume
	}
	return f.volumes[at], nil
}

func (f *fakeProcs) CreateVolume(name string, size int64) (proc.Volume, error) {
	f.volumes = append(f.volumes, proc.Volume{Volume: rootfs.Volume{Name: name, Size: size}, Procs: []string{}})
	return f.Volume(name)
}

func (f *fakeProcs) RemoveVolume(name string) error {
	v, err := f.Volume(name)
	if err == nil && len(v.Procs) > 0 {
		err = proc.ErrVolumeInUse
	}
	return err
}

func TestVolumeVerbs(t *testing.T) {
	m := newMachine(t)
	m.serve()
	m.procs.volumes = []proc.Volume{
		{Volume: rootfs.Volume{Name: "used", Owner: &isolate.User{UID: 1000, GID: 1001}}, Procs: []string{"p", "q"}},
		{Volume: rootfs.Volume{Name: "bad", Damage: "no record"}},
	}
	for _, c := range []struct {
		args   string
		status int
		out    string // in the output or, when the status is not 0, the errors
	}{
		{"create data other", 0, "data\nother\n"},
		{"ls --quiet", 0, "used\nbad\ndata\nother\n"},
		{"ls", 0, "used 106751d - 1000:1001 2"},
		{"ls", 0, "bad - - - 0"},
		{"ls --json", 0, `"damage": "no record"`},
		{"create db --size 16M", 0, "db\n"},
		{"ls", 0, "db 106751d 16MiB - 0"},
		{"create db --size big", 2, "must be a size"},
		{"show used", 0, `"uid": 1000`},
		{"show used none", 1, "none: no such volume"},
		{"rm data", 0, "data\n"},
		{"rm used data", 1, "used: the volume is in use"},
		{"create", 2, "requires at least 1 arg"},
	} {
		status, stdout, stderr := m.run(t.Context(), append([]string{"volume"}, strings.Fields(c.args)...)...)
		said := stdout
		if c.status != 0 {
			said = stderr
		}
		if c.args == "ls" {
			said = strings.Join(strings.Fields(said), " ")
		}
		if status != c.status || !strings.Contains(said, c.out) {
			t.Errorf("volume %s: %d %q %q", c.args, status, stdout, stderr)
		}
	}
}

func TestParseMount(t *testing.T) {
	for text, want := range map[string]proc.Mount{
		"type=volume,source=data,target=/data":                    {Type: "volume", Source: "data", Target: "/data"},
		"type=volume,source=data,target=/data,readonly":           {Type: "volume", Source: "data", Target: "/data", ReadOnly: true},
		"target=/x,type=bind,source=/a=b,readonly=true":           {Type: "bind", Source: "/a=b", Target: "/x", ReadOnly: true},
		"type=tmpfs,target=/scratch,size=64M,exec,readonly=false": {Type: "tmpfs", Target: "/scratch", Size: 64 << 20, Exec: true},
		"type=odd,target=relative":                                {Type: "odd", Target: "relative"}, // the daemon says what is wrong
	} {
		if got, err := parseMount(text); got != want || err != nil {
			t.Errorf("%s: got %+v %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "must be type=", "data:/data": "must be type=", "type=volume,source=data": "needs a type", "source=data,target=/x": "needs a type",
		"type=,target=/x": "must be type=", "type=volume,target=/x,target=/y": "target is given twice", "type=volume,target": "must be type=",
		"type=tmpfs,target=/x,size=big": "size: must be a size", "type=tmpfs,target=/x,size=0": "size: must be a size", "type=bind,target=/x,readonly=often": "readonly: must be true or false",
		"type=volume,target=/x,mode=1777": "mode: no such key", "type=volume,target=/x,": "must be type=",
	} {
		if got, err := parseMount(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v %v", text, got, err)
		}
	}
}

// What run is told of mounts arrives with the daemon.
func TestRunMounts(t *testing.T) {
	m := newMachine(t)
	m.serve()
	status, _, stderr := m.run(t.Context(), "run", "--mount", "type=volume,source=data,target=/data", "--mount", "type=tmpfs,target=/t,size=1M", "true")
	want := []proc.Mount{{Type: "volume", Source: "data", Target: "/data"}, {Type: "tmpfs", Target: "/t", Size: 1 << 20}}
	if status != 0 || len(m.procs.requests) != 1 || !slices.Equal(m.procs.requests[0].Mounts, want) {
		t.Errorf("%d %q: %+v", status, stderr, m.procs.requests)
	}
	if status, _, stderr := m.run(t.Context(), "run", "--mount", "/data", "true"); status != 2 || !strings.Contains(stderr, "--mount") {
		t.Errorf("%d %q", status, stderr)
	}
}
