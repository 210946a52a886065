package machine

import (
	"slices"
	"strings"
	"testing"
)

func TestLoadOrder(t *testing.T) {
	depends := map[string]string{
		"/m/ext4.ko": "license=GPL\x00depends=mbcache,jbd2,crc16\x00name=ext4\x00", "/m/jbd2.ko": "depends=\x00", "/m/mbcache.ko": "",
		"/m/crc32c-intel.ko": "depends=crypto\x00", "/m/virtio_blk.ko": "depends=virtio-ring,virtio\x00",
		"/m/virtio_ring.ko": "depends=virtio\x00", "/m/virtio.ko": "depends=\x00", "/m/lost.ko": "depends=gone\x00",
	}
	files := make(map[string]string)
	for file := range depends {
		files[moduleName(strings.TrimSuffix(strings.TrimPrefix(file, "/m/"), ".ko"))] = file
	}
	needs := func(file string) ([]string, error) { return parseDepends([]byte(depends[file])), nil }
	builtin := map[string]bool{"crc16": true, "crypto": true}

	got, err := loadOrder([]string{"ext4", "virtio_blk", "crc32c-intel", "jbd2", "crc16"}, files, builtin, needs)
	want := []string{"/m/mbcache.ko", "/m/jbd2.ko", "/m/ext4.ko", "/m/virtio.ko", "/m/virtio_ring.ko", "/m/virtio_blk.ko", "/m/crc32c-intel.ko"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for name, text := range map[string]string{"none": "no module none", "lost": "lost needs: the kernel has no module gone"} {
		if _, err := loadOrder([]string{name}, files, builtin, needs); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
