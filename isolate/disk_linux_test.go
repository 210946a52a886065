package isolate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A sysfs with a disk, its partition, and one that bfq schedules.
func TestFindDisk(t *testing.T) {
	sys := t.TempDir()
	for path, content := range map[string]string{
		"devices/virtio0/block/vda/dev":             "254:0\n",
		"devices/virtio0/block/vda/queue/scheduler": "[none] mq-deadline bfq\n",
		"devices/virtio0/block/vda/vda1/dev":        "254:1\n",
		"devices/virtio0/block/vda/vda1/partition":  "1\n",
		"devices/ata1/block/sda/dev":                "8:0\n",
		"devices/ata1/block/sda/queue/scheduler":    "none mq-deadline [bfq]\n",
		"fs/cgroup/io.cost.qos":                     "8:16 enable=1 ctrl=auto\n254:0 enable=1 ctrl=user rpct=95.00\n",
	} {
		write(t, filepath.Join(sys, path), content)
	}
	if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for number, dir := range map[string]string{"254:0": "virtio0/block/vda", "254:1": "virtio0/block/vda/vda1", "8:0": "ata1/block/sda"} {
		if err := os.Symlink("../../devices/"+dir, filepath.Join(sys, "dev/block", number)); err != nil {
			t.Fatal(err)
		}
	}
	vda, sda := BlockDevice{254, 0}, BlockDevice{8, 0}
	for _, c := range []struct {
		device BlockDevice
		cgroup CgroupMode
		want   Disk
	}{
		{vda, CgroupHybrid, Disk{Device: vda}},
		{vda, CgroupV2, Disk{vda, WeightIOCost}},
		{BlockDevice{254, 1}, CgroupHybrid, Disk{Device: vda}},
		{BlockDevice{254, 1}, CgroupV2, Disk{vda, WeightIOCost}},
		{sda, CgroupV1, Disk{sda, WeightBFQ}},
		{BlockDevice{0, 42}, CgroupV2, Disk{}},
		{BlockDevice{9, 9}, CgroupV2, Disk{}},
	} {
		if got := findDisk(sys, c.device, c.cgroup); got != c.want {
			t.Errorf("%v on %s: got %+v, want %+v", c.device, c.cgroup, got, c.want)
		}
	}
}

func TestCosted(t *testing.T) {
	for qos, want := range map[string]bool{
		"": false, "254:0": false, "254:0 enable=0 ctrl=auto": false, "1254:0 enable=1": false,
		"254:0 enable=1": true, strings.Repeat("8:0 enable=0\n", 2) + "254:0 enable=1 ctrl=auto\n": true,
	} {
		if got := costed(qos, BlockDevice{254, 0}); got != want {
			t.Errorf("%q: got %v", qos, got)
		}
	}
}

func TestProbeDisk(t *testing.T) {
	if d, err := ProbeDisk("/proc", CgroupV2); err != nil || d != (Disk{}) {
		t.Errorf("of /proc: %+v %v", d, err)
	}
	if _, err := ProbeDisk("/no/such/folder", CgroupV2); err == nil {
		t.Error("of no folder: no error")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
