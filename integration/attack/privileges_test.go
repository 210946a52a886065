//go:build integration

package attack

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

const noCaps = "0000000000000000"

// T1, T23: what the app, its children and PID 1 may do, and try to.
func TestPrivileges(t *testing.T) {
	fight(t, []attack{{
		id: "T1", what: "gain a privilege", args: []string{"privileges"}, want: attacks.Privileges(1000, 1000), control: asRootOfNamespaces,
		differs: true, // of the facts; tries work
		blind: map[string]string{
			"forget ":      "no process can",
			"self Groups":  "the control has none either",
			"child Groups": "the control has none either",
			"pid1 Groups":  "the control has none either",
			"self CapInh":  "nobody sets it", "child CapInh": "nobody sets it", "pid1 CapInh": "nobody sets it",
			"self CapAmb": "nobody sets it", "child CapAmb": "nobody sets it", "pid1 CapAmb": "nobody sets it",
			"pid1 Uid": "root as well", "pid1 Gid": "root as well",
		},
	}, {
		id: "T23", what: "take more of the machine", args: []string{"scheduling"}, control: asRoot,
		want: attacks.Expectation{Want: map[string]string{"oom_score_adj": attacks.Whatever, "oom_score_adj as the host's": attacks.Whatever}},
		blind: map[string]string{
			"raise ":          "the host's root may lack CAP_SYS_RESOURCE, as in a virtual machine",
			"oom_score_adj":   "the host's root may lack CAP_SYS_RESOURCE, as in a virtual machine",
			"SCHED_RR":        "a kernel may allow real time to no group of processes",
			"SCHED_FIFO":      "a kernel may allow real time to no group of processes",
			"SCHED_DEADLINE":  "admission depends on what else has a deadline",
			"limit of PID 1":  "its hard limit may be raised by none",
			"lock 32 MiB":     "root may lock what it likes",
			"nice of PID 1":   "root's own there",
			"real-time disk":  "root may",
			"oom_score_adj o": "root's own there",
		},
	}})
}

// T23: oom_score_adj of an app begins at 200. Where the daemon has
// CAP_SYS_RESOURCE the kernel keeps apps from lowering it; where it has not
// they may go down to the daemon's own, and no further.
func TestOOMScore(t *testing.T) {
	got := once(t, spec(t, "scheduling")).Detail
	if got["oom_score_adj"] != "200\n" {
		t.Errorf("begins at %q", got["oom_score_adj"])
	}
	want := "EACCES"
	if !capable(t, unix.CAP_SYS_RESOURCE) {
		want = "ok"
	}
	if got["oom_score_adj as the host's"] != want {
		t.Errorf("lowered to 0: %s, want %s", got["oom_score_adj as the host's"], want)
	}
	if got["oom_score_adj below the host's"] != "EACCES" {
		t.Errorf("lowered to -1: %s", got["oom_score_adj below the host's"])
	}
}

func capable(t *testing.T, n uint) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[n/32].Effective&(1<<(n%32)) != 0
}

// T12: files that give who executes them a privilege give none in a sandbox,
// whether they come with the image, lie in the layer or are the app's own.
// Control: the same files on the host, by an unprivileged user.
func TestSetuid(t *testing.T) {
	dir := filepath.Join(tools, "privileged")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	names := []string{"setuid", "setgid", "both", "capable"}
	fill(t, dir, 0)
	hostile := func() isolate.Spec {
		s := spec(t, "setuid")
		for _, name := range names {
			s.Args = append(s.Args, "/app/privileged/"+name, "/"+name)
		}
		fill(t, s.Layer.Upper, int(s.IDs.Base))
		return s
	}
	got := once(t, hostile())
	if got.Result != "refused" || len(got.Detail) != 2*len(names)+4 {
		t.Errorf("%v", got)
	}

	args := []string{"setuid"}
	for _, name := range names {
		args = append(args, filepath.Join(dir, name))
	}
	ctl := asUser(t, args)
	for _, name := range []string{"setuid", "both", "capable"} {
		if ctl.Detail[filepath.Join(dir, name)] != "ok" {
			t.Errorf("control: %s gives nothing: %v", name, ctl.Detail)
		}
	}

	// nosuid alone and no_new_privs alone suffice; without nosuid on the mounts it
	// is the latter that holds.
	bare := once(t, hostile(), func(p *isolate.Plan) {
		for i, step := range p.Steps {
			switch step := step.(type) {
			case isolate.MountRoot:
				step.Flags &^= isolate.NoSuid
				p.Steps[i] = step
			case isolate.BindStep:
				step.Flags &^= isolate.NoSuid
				p.Steps[i] = step
			}
		}
	})
	if bare.Result != "refused" {
		t.Errorf("without nosuid: %v", bare)
	}
}

// fill makes copies of the probe with every kind of privilege.
func fill(t *testing.T, dir string, owner int) {
	t.Helper()
	binary, err := os.ReadFile(filepath.Join(tools, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"setuid": 0o755 | os.ModeSetuid, "setgid": 0o755 | os.ModeSetgid, "both": 0o755 | os.ModeSetuid | os.ModeSetgid, "capable": 0o755,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, binary, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	value := make([]byte, 20) // struct vfs_cap_data, version 2, effective
	value[0], value[3], value[4+unix.CAP_SYS_CHROOT/8] = 1, 2, 1<<(unix.CAP_SYS_CHROOT%8)
	if err := unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", value, 0); err != nil {
		t.Fatal(err)
	}
}

// T12: the template's own setuid programs start and gain nothing.
func TestTemplateSetuid(t *testing.T) {
	const line = `for f in $(find / -xdev -perm /6000 -type f); do echo "$f"; done; su -c id root </dev/null 2>&1; grep -E 'CapEff|Uid' /proc/self/status`
	s := spec(t)
	s.Args = []string{"/bin/sh", "-c", line + `; echo '{"attack":"su","result":"refused"}'`}
	b := start(t, testbed.Engine(t), s)
	setuid, root := 0, false
	for {
		text, err := b.out.ReadString('\n')
		if err != nil {
			break
		}
		switch {
		case len(text) > 4 && text[:5] == "/usr/":
			setuid++
		case len(text) > 6 && text[:6] == "uid=0(":
			root = true
		}
	}
	if setuid == 0 || root {
		t.Errorf("%d setuid programs, root: %v", setuid, root)
	}
}
