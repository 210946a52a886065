package server

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
)

func (f *fakeProcs) Volumes() ([]proc.Volume, error) { return f.volumes, f.err }

func (f *fakeProcs) Volume(name string) (proc.Volume, error) {
	for _, v := range f.volumes {
		if v.Name == name {
			return v, nil
		}
	}
	return proc.Volume{}, proc.ErrNoVolume
}

func (f *fakeProcs) CreateVolume(name string, size int64) (proc.Volume, error) {
	if _, err := f.Volume(name); err == nil {
		return proc.Volume{}, proc.ErrVolumeExists
	}
	if err := rootfs.CheckVolume(name); err != nil {
		return proc.Volume{}, &proc.FieldError{Field: "name", Detail: err.Error()}
	}
	f.volumes = append(f.volumes, proc.Volume{Volume: rootfs.Volume{Name: name, Size: size}, Procs: []string{}})
	return f.Volume(name)
}

func (f *fakeProcs) RemoveVolume(name string) error {
	v, err := f.Volume(name)
	switch {
	case err != nil:
		return err
	case len(v.Procs) > 0:
		return proc.ErrVolumeInUse
	}
	f.volumes = slices.DeleteFunc(f.volumes, func(v proc.Volume) bool { return v.Name == name })
	return nil
}

func TestVolumes(t *testing.T) {
	w := newWorld(t)
	if got := call(t, w.unix.URL, "GET", "/v1/volumes", ""); got.StatusCode != 200 || got.body != "{\"volumes\":[]}\n" {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	w.procs.volumes = []proc.Volume{{Volume: rootfs.Volume{Name: "used"}, Procs: []string{"p"}}}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/volumes", `{"name":"data","size":16777216}`, 201, `"size":16777216`},
		{"POST", "/v1/volumes", `{"name":"data","size":"16M"}`, 400, `"field":"size"`},
		{"POST", "/v1/volumes", `{"name":"data"}`, 409, "volume-exists"},
		{"POST", "/v1/volumes", `{"name":"../data"}`, 400, `"field":"name"`},
		{"POST", "/v1/volumes", `{"name":7}`, 400, `"field":"name"`},
		{"POST", "/v1/volumes", `{"nam":"x"}`, 400, `"field":"nam"`},
		{"POST", "/v1/volumes?x=1", `{"name":"x"}`, 400, `"field":"x"`},
		{"GET", "/v1/volumes/data", "", 200, `"procs":[]`},
		{"GET", "/v1/volumes/none", "", 404, "no-volume"},
		{"GET", "/v1/volumes?x=1", "", 400, `"field":"x"`},
		{"GET", "/v1/volumes/data?x=1", "", 400, `"field":"x"`},
		{"DELETE", "/v1/volumes/data?force=1", "", 400, `"field":"force"`},
		{"DELETE", "/v1/volumes/used", "", 409, "volume-in-use"},
		{"DELETE", "/v1/volumes/data", "", 204, ""},
		{"DELETE", "/v1/volumes/data", "", 404, "no-volume"},
		{"PUT", "/v1/volumes/data", `{}`, 405, "method"},
	} {
		got := call(t, w.unix.URL, c.method, c.path, c.body)
		if got.StatusCode != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s %s: got %d %s", c.method, c.path, c.body, got.StatusCode, got.body)
		}
		if at := got.Header.Get("Location"); c.status == 201 && at != "/v1/volumes/data" {
			t.Errorf("made at %q", at)
		}
	}
	got := call(t, w.unix.URL, "GET", "/v1/volumes", "")
	var list VolumeList
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list.Volumes) != 1 || list.Volumes[0].Name != "used" {
		t.Errorf("got %s %v", got.body, err)
	}
	for _, path := range []string{"/v1/volumes", "/v1/volumes/used"} {
		if got := call(t, w.tcp.URL, "GET", path, ""); got.StatusCode != 401 {
			t.Errorf("%s without a token: %d", path, got.StatusCode)
		}
	}
}
