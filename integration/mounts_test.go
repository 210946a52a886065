//go:build integration

package integration

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

func volume(source, target string) proc.Mount {
	return proc.Mount{Type: "volume", Source: source, Target: target}
}

// waits is a program that runs until it is told to end.
const waits = "; echo up; trap 'exit 0' TERM; while :; do read -t 1 <> <(:); done"

// A volume keeps what procs write: for others at the same time, though their ids are
// others, for the next ones, through a kill of the daemon, and until it is removed.
func TestVolume(t *testing.T) {
	images := serveImages(t, map[string][]byte{"app.tar.gz": pack(t, file{name: "hello", content: "hello\n"})})
	d := serve(t)
	first := d.create(proc.Request{
		Name: "first", Image: images + "app.tar.gz", Mounts: []proc.Mount{volume("blog", "/app/data")},
		Command: proc.Shell("cat /app/hello; umask 077; id -u >data/log; cut -c1-11,12-22 /proc/self/uid_map >data/map" + waits),
	})
	d.follow(first.ID).until("stdout: up")
	second := d.run(proc.Request{
		Name: "second", Mounts: []proc.Mount{volume("blog", "/data")},
		Command: proc.Shell("cat /data/log; echo two >>/data/log; stat -c '%U %a' /data /data/log; diff -q /proc/self/uid_map /data/map >/dev/null || echo other ids"),
	})
	if got, want := d.output(second.ID), "1000\ngilliam 755\ngilliam 600\nother ids\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	look := proc.Mount{Type: "volume", Source: "blog", Target: "/data", ReadOnly: true}
	third := d.run(proc.Request{
		Name: "third", Mounts: []proc.Mount{look},
		Command: proc.Shell("cat /data/log; for f in log new; do echo three >>/data/$f; done 2>&1 | grep -o 'Read-only.*'; rm -f /data/log 2>&1 | grep -o 'Read-only.*'"),
	})
	if got, want := d.output(third.ID), "1000\ntwo\n"+strings.Repeat("Read-only file system\n", 3); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if p := d.get(third.ID); !slices.Equal(p.Mounts, []proc.Mount{look}) {
		t.Errorf("shown as %+v", p.Mounts)
	}

	d.kill()
	d.start()
	if r := d.cli(t, "inspect", "--verify", first.ID); r.code != 0 {
		t.Errorf("verify: %s", r)
	}
	d.inUse("blog", first.ID)
	if p := d.stopProc(first.ID, ""); p.State != proc.Done {
		t.Errorf("got %+v", p)
	}
	d.remove(first.ID)
	last := d.run(proc.Request{Mounts: []proc.Mount{volume("blog", "/app")}, Command: proc.Shell("cat log; pwd")})
	if got := d.output(last.ID); got != "1000\ntwo\n/app\n" {
		t.Errorf("got %q", got)
	}
	if r := d.cli(t, "volume", "rm", "blog"); r.code != 0 || r.stdout != "blog\n" {
		t.Errorf("got %s", r)
	}
	if left, err := filepath.Glob(filepath.Join(d.stateDir, "volumes", "*")); len(left) > 0 || err != nil {
		t.Errorf("left: %q %v", left, err)
	}
}

// inUse fails the test unless the proc, and no other, keeps the volume from being
// removed.
func (d *daemon) inUse(volume, id string) {
	d.tb.Helper()
	var v proc.Volume
	d.want(http.StatusOK, http.MethodGet, "/v1/volumes/"+volume, nil, &v)
	if !slices.Equal(v.Procs, []string{id}) {
		d.tb.Errorf("volume %s is used by %q, not by %s", volume, v.Procs, id)
	}
	a := d.want(http.StatusConflict, http.MethodDelete, "/v1/volumes/"+volume, nil, nil)
	if !strings.Contains(a.body, "volume-in-use") || !strings.Contains(a.body, id) {
		d.tb.Errorf("got %s", a)
	}
}

// A volume with a size keeps what is written to it as others do, through a kill of the
// daemon too, but ends at that, and one proc has it at a time.
func TestSizedVolume(t *testing.T) {
	d := serve(t)
	if r := d.cli(t, "volume", "create", "db", "--size", "16M"); r.code != 0 || r.stdout != "db\n" {
		t.Fatalf("got %s", r)
	}
	db := proc.Mount{Type: "volume", Source: "db", Target: "/var/lib/db"}
	first := d.create(proc.Request{
		Name: "first", Mounts: []proc.Mount{db},
		Command: proc.Shell("cd /var/lib/db; stat -c %U .; echo kept >f; head -c 64M /dev/zero 2>&1 >big | grep -o 'No space.*'" + waits),
	})
	d.follow(first.ID).until("stdout: up")
	if got := strings.Join(d.logs(first.ID, ""), ","); got != "stdout: gilliam,stdout: No space left on device,stdout: up" {
		t.Errorf("got %s", got)
	}
	refused := func() {
		t.Helper()
		r := proc.Request{App: "blog", Name: "second", Mounts: []proc.Mount{db}, Command: proc.Shell("true")}
		if a := d.want(http.StatusConflict, http.MethodPost, "/v1/procs", r, nil); !strings.Contains(a.body, "volume-in-use") || !strings.Contains(a.body, first.ID) {
			t.Errorf("got %s", a)
		}
	}
	refused()
	d.kill()
	d.start()
	if r := d.cli(t, "inspect", "--verify", first.ID); r.code != 0 {
		t.Errorf("verify: %s", r)
	}
	refused()
	d.inUse("db", first.ID)
	d.remove(first.ID) // by SIGKILL
	db.Size = 16 << 20
	second := d.run(proc.Request{Name: "second", Mounts: []proc.Mount{db}, Command: proc.Shell("cd /var/lib/db; cat f; rm big; echo more >>f")})
	if got := d.output(second.ID); got != "kept\n" {
		t.Errorf("got %q: %+v", got, second)
	}
	db.Size++
	var problem server.Problem
	r := proc.Request{App: "blog", Name: "third", Mounts: []proc.Mount{db}, Command: proc.Shell("true")}
	if d.want(http.StatusBadRequest, http.MethodPost, "/v1/procs", r, &problem); problem.Field != "mounts[0].size" {
		t.Errorf("another size: %+v", problem)
	}
	made := d.cli(t, "run", "--rm", "--mount", "type=volume,source=new,target=/new,size=8M", "--restart", "on-failure", "--restart-max", "3",
		"--shell", "echo x >>/new/n; [ $(wc -l </new/n) = 3 ] && df --output=fstype,size -B1 /new | tail -n 1 | xargs")
	if made.code != 0 || made.stdout != "ext4 8388608\n" {
		t.Errorf("got %s", made)
	}
	d.errorsExpected = true // of what there is no room for
	r.Mounts = []proc.Mount{{Type: "volume", Source: "huge", Target: "/x", Size: 1 << 42}}
	if a := d.want(http.StatusInsufficientStorage, http.MethodPost, "/v1/procs", r, nil); !strings.Contains(a.body, "disk-full") {
		t.Errorf("more than there is: %s", a)
	}
	if r := d.cli(t, "volume", "rm", "db", "new"); r.code != 0 {
		t.Errorf("got %s", r)
	}
}

// A proc that waits for its restart has its volume as well, and finds in it what it
// has written before.
func TestVolumeRestart(t *testing.T) {
	d := serve(t, "--restart-wait", "10ms")
	p := d.create(proc.Request{
		Mounts: []proc.Mount{volume("count", "/data")}, Supervision: restart(proc.RestartOnFailure, 5),
		Command: proc.Shell("echo x >>/data/n; [ $(wc -l </data/n) = 3 ] || exit 1" + waits),
	})
	d.follow(p.ID).until("stdout: up")
	if p := d.get(p.ID); p.Restarts != 2 {
		t.Errorf("got %+v", p)
	}
	d.inUse("count", p.ID)
	d.remove(p.ID)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/volumes/count", nil, nil)
}

// Nobody else sees a volume: no other proc, and no other user of the host. What its
// tenants leave in it harms no one.
func TestVolumeIsPrivate(t *testing.T) {
	d := serve(t, "--allow-root")
	canary := filepath.Join(t.TempDir(), "canary")
	must(t, os.WriteFile(canary, []byte("host"), 0o644))
	p := d.run(proc.Request{
		Name: "root", User: "root", Mounts: []proc.Mount{volume("loot", "/data")}, Command: proc.Shell(`cp /bin/bash /data/shell; chmod 6755 /data/shell; chmod 777 /data
			echo secret >/data/secret; ln -s ` + canary + ` /data/link; mkfifo /data/fifo; cd /data; for i in $(seq 300); do mkdir d; cd d; done; stat -c '%U %a' /data/shell`),
	})
	if got := d.output(p.ID); got != "root 6755\n" {
		t.Fatalf("got %q", got)
	}
	shell := filepath.Join(d.stateDir, "volumes", "loot", "data", "shell")
	if fi, err := os.Lstat(shell); err != nil || fi.Mode()&fs.ModeSetuid == 0 {
		t.Fatalf("%v %v: this tests nothing", fi, err)
	}
	next := d.run(proc.Request{Name: "next", Mounts: []proc.Mount{volume("loot", "/data")}, Command: proc.Shell("/data/shell -p -c 'id -u; id -ru'; cat /data/secret")})
	if got := d.output(next.ID); got != "1000\n1000\nsecret\n" {
		t.Errorf("a setuid program on a volume: got %q", got)
	}
	other := d.run(proc.Request{Name: "other", User: "root", Command: proc.Shell("ls -d /data " + d.stateDir + " 2>&1 | grep -c 'No such'; grep -c loot /proc/self/mountinfo")})
	if got := d.output(other.ID); got != "2\n0\n" {
		t.Errorf("another proc: got %q", got)
	}
	for _, dir := range []string{"volumes", "volumes/loot"} {
		hasMode(t, filepath.Join(d.stateDir, dir), 0o700, 0)
	}
	// Through a shell: setpriv itself still has root's capabilities.
	r := finish(t, exec.Command("setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "--", "sh", "-c", "exec "+shell+" -p -c 'id -u'"))
	if r.code == 0 || !strings.Contains(r.stderr, "ermission denied") {
		t.Errorf("another user of the host: got %s", r)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/volumes/loot", nil, nil)
	if b, err := os.ReadFile(canary); string(b) != "host" || err != nil {
		t.Errorf("the canary: %q %v", b, err)
	}
}

// A folder of the host's is shown where the operator allows it, as it is, and nobody
// writes to it. What is private on the host is private to the proc.
func TestBindMount(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "in", "deep"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "in"), 0o777))
	must(t, os.WriteFile(filepath.Join(dir, "in", "file"), []byte("shown\n"), 0o666))
	must(t, os.Chmod(filepath.Join(dir, "in", "file"), 0o666)) // whatever the umask
	must(t, os.WriteFile(filepath.Join(dir, "in", "private"), []byte("secret\n"), 0o600))
	must(t, os.Symlink("../..", filepath.Join(dir, "in", "up")))
	must(t, os.Symlink("/etc", filepath.Join(dir, "out")))
	d := serve(t, "--allow-bind", dir, "--allow-root")
	mount := proc.Mount{Type: "bind", Source: filepath.Join(dir, "in"), Target: "/srv/in", ReadOnly: true}
	const look = "cat /srv/in/file; cat /srv/in/private; (echo x >>/srv/in/file; touch /srv/in/new; rm -f /srv/in/file) 2>&1 | grep -o 'Read-only.*'; ls -d /srv/in/up/proc"
	for _, user := range []string{"", "root"} {
		p := d.run(proc.Request{Name: "look" + user, User: user, Mounts: []proc.Mount{mount}, Command: proc.Shell(look)})
		got, want := d.output(p.ID), "shown\n"+strings.Repeat("Read-only file system\n", 3)
		if got != want+"/srv/in/up/proc\n" {
			t.Errorf("user %q: got %q, want %q", user, got, want)
		}
	}
	p := d.create(proc.Request{Name: "watch", Mounts: []proc.Mount{mount}, Command: proc.Shell("echo up; until [ -e /srv/in/deep/sign ]; do sleep 0.02; done; cat /srv/in/deep/sign")})
	d.follow(p.ID).until("stdout: up")
	if r := d.cli(t, "inspect", "--verify", p.ID); r.code != 0 {
		t.Errorf("verify: %s", r)
	}
	must(t, os.WriteFile(filepath.Join(dir, "in", "deep", ".sign"), []byte("changed\n"), 0o644))
	must(t, os.Rename(filepath.Join(dir, "in", "deep", ".sign"), filepath.Join(dir, "in", "deep", "sign")))
	d.follow(p.ID).until("stdout: changed")
}

// What may not be mounted is refused with its field, and nothing is made.
func TestMountsRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("/etc", filepath.Join(dir, "out")))
	d := serve(t, "--allow-bind", dir, "--max-volumes", "1", "--max-volume-size", "8M")
	for _, size := range []int64{0, 8<<20 + 1} {
		d.want(http.StatusBadRequest, http.MethodPost, "/v1/volumes", server.VolumeRequest{Name: "one", Size: size}, nil)
	}
	d.want(http.StatusCreated, http.MethodPost, "/v1/volumes", server.VolumeRequest{Name: "one", Size: 8 << 20}, nil)
	for mounts, field := range map[string]string{
		`{"type":"bind","source":"/etc","target":"/x","readonly":true}`:                                                 "mounts[0].source",
		`{"type":"bind","source":"` + dir + `","target":"/x"}`:                                                          "mounts[0].readonly",
		`{"type":"bind","source":"` + dir + `/out","target":"/x","readonly":true}`:                                      "mounts[0].source",
		`{"type":"bind","source":"` + dir + `/none","target":"/x","readonly":true}`:                                     "mounts[0].source",
		`{"type":"bind","source":"` + dir + `/../x","target":"/x","readonly":true}`:                                     "mounts[0].source",
		`{"type":"bind","source":"` + d.stateDir + `","target":"/x","readonly":true}`:                                   "mounts[0].source",
		`{"type":"volume","source":"one","target":"/proc/x"}`:                                                           "mounts[0].target",
		`{"type":"volume","source":"one","target":"/sys/fs/cgroup"}`:                                                    "mounts[0].target",
		`{"type":"volume","source":"one","target":"/dev/shm"}`:                                                          "mounts[0].target",
		`{"type":"volume","source":"one","target":"/etc/hosts"}`:                                                        "mounts[0].target",
		`{"type":"volume","source":"one","target":"/x"},{"type":"tmpfs","target":"/x/y"}`:                               "mounts[1].target",
		`{"type":"volume","source":"one","target":"/x"},{"type":"volume","source":"one","target":"/y"}`:                 "mounts[1].source",
		`{"type":"volume","source":"two","target":"/x"}`:                                                                "mounts[0].size",
		`{"type":"volume","source":"two","target":"/x","size":4194304}`:                                                 "mounts[0].source",
		`{"type":"volume","source":"one","target":"/x","readOnly":true}`:                                                "mounts[0].readOnly",
		`{"type":"volume","source":"one","target":"/x","target":"/y"}`:                                                  "mounts[0].target",
		`{"type":"tmpfs","target":"/x","size":"64M"}`:                                                                   "mounts[0].size",
		`{"type":"tmpfs","target":"/x","size":2147483648}`:                                                              "mounts[0].size",
		`{"type":"tmpfs","target":"/x"},{"type":"volume","source":"one","target":"/y"},{"type":"cgroup","target":"/z"}`: "mounts[2].type",
	} {
		for _, query := range []string{"", "?dry_run=true"} {
			body := json.RawMessage(`{"app":"blog","name":"web.1","command":["true"],"mounts":[` + mounts + `]}`)
			var problem server.Problem
			d.want(http.StatusBadRequest, http.MethodPost, "/v1/procs"+query, body, &problem)
			if problem.Field != field || problem.Detail == "" {
				t.Errorf("%s: got %+v, want %s", mounts, problem, field)
			}
		}
	}
	d.want(http.StatusConflict, http.MethodPost, "/v1/volumes", server.VolumeRequest{Name: "two", Size: 8 << 20}, nil)
	if procs := d.list(""); len(procs) > 0 {
		t.Errorf("made: %+v", procs)
	}
	// Through a symlink of the template: only a launch can tell.
	p := d.run(proc.Request{Mounts: []proc.Mount{volume("one", "/var/run/data")}, Command: proc.Shell("true")})
	if p.State != proc.Fail || !strings.Contains(p.Reason, "/var/run/data") || !strings.Contains(p.Reason, "symlink") {
		t.Errorf("got %+v", p)
	}
	state := filepath.Join(dir, "var", "state")
	for _, allowed := range []string{"/", "/proc", "/sys/kernel", dir, filepath.Dir(state), state, state + "/volumes", filepath.Join(dir, "none")} {
		r := finish(t, exec.Command(*hypervisor, "serve", "--state-dir", state, "--run-dir", filepath.Join(dir, "run"), "--port", "0", "--allow-bind", allowed))
		if r.code != 1 || !strings.Contains(r.stderr, "--allow-bind") {
			t.Errorf("--allow-bind %s: %s", allowed, r)
		}
	}
}

// What was asked for is in the plan, from the CLI on, and a dry run makes no volume.
func TestMountsPlan(t *testing.T) {
	d := serve(t)
	mounts := []string{"--mount", "type=volume,source=data,target=/data,readonly", "--mount", "type=tmpfs,target=/scratch,size=1M"}
	r := d.cli(t, "run", slices.Concat([]string{"--dry-run"}, mounts, []string{"true"})...)
	for _, want := range []string{
		"bind " + d.stateDir + "/volumes/data/data on /data ro,nosuid,nodev (idmapped)\n",
		"mount tmpfs on /scratch nosuid,nodev,noexec mode=1777,size=1048576,nr_inodes=256\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in the plan:\n%s", want, r)
		}
	}
	if r := d.cli(t, "volume", "ls", "--quiet"); r.code != 0 || r.stdout != "" {
		t.Errorf("got %s", r)
	}
	fill := "head -c 4M /dev/zero >/scratch/f; stat -c %s /scratch/f; touch /data/x 2>&1 | grep -o 'Read-only.*'"
	r = d.cli(t, "run", slices.Concat([]string{"--rm"}, mounts, []string{"--shell", fill})...)
	if r.stdout != "1048576\nRead-only file system\n" || !strings.Contains(r.stderr, "No space left") {
		t.Errorf("got %s", r)
	}
	if r := d.cli(t, "volume", "ls", "--quiet"); r.stdout != "data\n" {
		t.Errorf("got %s", r)
	}
	a := d.do(http.MethodGet, "/metrics", nil)
	if !strings.Contains(a.body, "\ngilliam_volumes 1\n") {
		t.Errorf("the metrics do not count the volume")
	}
	// The original's API knows nothing of mounts.
	a = d.do(http.MethodPost, "/proc", json.RawMessage(`{"app":"a","name":"b","image":"","command":"true","config":{},"mounts":[{"type":"volume","source":"x","target":"/x"}]}`))
	if strings.Contains(a.body, "mounts") {
		t.Errorf("got %s", a)
	}
	if r := d.cli(t, "volume", "ls", "--quiet"); r.stdout != "data\n" {
		t.Errorf("got %s", r)
	}
}
