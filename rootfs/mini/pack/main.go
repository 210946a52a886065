package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("pack: ", err)
	}
}

func run() error {
	program, err := os.ReadFile("pack/userland")
	if err != nil {
		return err
	}
	names, err := exec.Command("pack/userland", "userland").Output()
	if err != nil {
		return fmt.Errorf("pack/userland: %w", err)
	}
	t := tree{}
	t.fill(program, strings.Fields(string(names)))
	list, err := manifest.New(t.entries)
	if err != nil {
		return err
	}
	archive, err := t.archive()
	if err != nil {
		return err
	}
	if err := os.WriteFile("mini.tar.zst", archive, 0o644); err != nil {
		return err
	}
	return os.WriteFile("mini.hash", []byte(list.Hash()+"\n"), 0o644)
}

// A tree is what the template holds.
type tree struct {
	entries  []manifest.Entry
	contents [][]byte // of the same number
}

// fill makes the tree. All of it is root's.
func (t *tree) fill(program []byte, names []string) {
	for _, name := range []string{".", "app", "dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr", "usr/bin", "usr/lib", "usr/local", "usr/local/bin", "var"} {
		t.folder(name, 0o755)
	}
	t.folder("root", 0o700)
	t.folder("tmp", 0o1777)
	t.folder("var/tmp", 0o1777)
	for from, to := range map[string]string{"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib", "usr/sbin": "bin", "var/run": "../run"} {
		t.link(from, to)
	}
	t.file("usr/bin/userland", 0o755, program)
	for _, name := range names {
		if name != "userland" {
			t.link("usr/bin/"+name, "userland")
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n" +
			"gilliam:x:1000:1000::/app:/bin/sh\n",
		"etc/group":         "root:x:0:\nnogroup:x:65534:\ngilliam:x:1000:\n",
		"etc/os-release":    "NAME=\"Gilliam mini\"\nPRETTY_NAME=\"Gilliam mini\"\nID=gilliam-mini\n",
		"etc/nsswitch.conf": "hosts: files dns\n",
		"etc/shells":        "/bin/sh\n/bin/bash\n",
		"etc/hosts":         "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
		"etc/resolv.conf":   "",
	} {
		t.file(name, 0o644, []byte(text))
	}
}

func (t *tree) folder(name string, mode uint32) {
	t.entries = append(t.entries, manifest.Entry{Path: name, Type: manifest.Dir, Mode: mode})
	t.contents = append(t.contents, nil)
}

func (t *tree) link(name, to string) {
	t.entries = append(t.entries, manifest.Entry{Path: name, Type: manifest.Link, Mode: 0o777, Target: to})
	t.contents = append(t.contents, nil)
}

func (t *tree) file(name string, mode uint32, content []byte) {
	sum := sha256.Sum256(content)
	t.entries = append(t.entries, manifest.Entry{Path: name, Type: manifest.File, Mode: mode, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
	t.contents = append(t.contents, content)
}

var kinds = map[string]byte{manifest.Dir: tar.TypeDir, manifest.Link: tar.TypeSymlink, manifest.File: tar.TypeReg}

// archive packs the tree as small as it gets.
func (t *tree) archive() ([]byte, error) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for n, e := range t.entries {
		h := &tar.Header{Name: e.Path, Typeflag: kinds[e.Type], Mode: int64(e.Mode), Size: e.Size, Linkname: e.Target, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(t.contents[n]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
