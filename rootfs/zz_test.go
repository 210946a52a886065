//go:build integration
package rootfs
import ("testing";"time";"fmt";"os";"golang.org/x/sys/unix";"github.com/gilliam/hypervisor/isolate")
func TestZZ(t *testing.T) {
	for range 3 {
	l := newLayers(t)
	layer, _ := l.Create("a", isolate.IDRange{Base: 1 << 20, Size: 1 << 16}, nil)
	s := time.Now()
	for d := range 10_000 {
		dir := fmt.Sprintf("%s/%d", layer.Upper, d)
		os.Mkdir(dir, 0o755)
		for f := range 10 { unix.Mknod(fmt.Sprintf("%s/%d", dir, f), unix.S_IFREG|0o644, 0) }
	}
	c := time.Since(s); s = time.Now()
	l.Remove("a")
	t.Log("create", c, "remove", time.Since(s))
	}
}
