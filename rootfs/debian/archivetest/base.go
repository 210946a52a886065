package archivetest

import (
	"archive/tar"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// smallest are packages with dpkg, a shell and what these need.
var smallest = []string{
	"dpkg", "dash", "libc6", "libc-bin", "coreutils", "tar", "diffutils", "libselinux1", "libpcre2-8-0", "libmd0", "liblzma5", "libzstd1",
	"zlib1g", "libbz2-1.0", "libacl1", "libattr1", "libgmp10", "libcrypt1", "libgcc-s1",
}

// Base is one package with the files of those, out of a Debian system that is at
// template: a whole system in small.
func Base(template string) Package {
	b := baseMaker{template: template, seen: map[string]bool{}, p: Package{
		Control: "Package: base\nEssential: yes\nPriority: required\nVersion: 1\nArchitecture: amd64\nMaintainer: t\nDescription: t\n",
		Data:    map[string]string{}, Scripts: map[string]string{},
	}}
	for _, name := range []string{"etc", "dev", "proc", "sys", "run", "tmp", "root", "var/log", "var/lib/dpkg/info"} {
		b.add(tar.Header{Name: "./" + name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
	b.add(tar.Header{Name: "./etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\n")
	b.add(tar.Header{Name: "./etc/group", Mode: 0o644}, "root:x:0:\ntty:x:5:\n")
	for _, pkg := range smallest {
		lists, err := filepath.Glob(filepath.Join(b.template, "var/lib/dpkg/info", pkg+"[.:]*list"))
		if err != nil || len(lists) != 1 {
			panic("the template of the tests has no package " + pkg)
		}
		text, err := os.ReadFile(lists[0])
		if err != nil {
			panic(err)
		}
		for name := range strings.FieldsSeq(string(text)) {
			b.take(name)
		}
	}
	b.take("/bin/sh")
	return b.p
}

type baseMaker struct {
	template string
	p        Package
	seen     map[string]bool // by real name
}

func (b *baseMaker) add(h tar.Header, text string) {
	b.p.Files = append(b.p.Files, h)
	b.p.Data[h.Name] = text
}

// take adds a file of the template's, unless a system does without.
func (b *baseMaker) take(name string) {
	for _, prefix := range []string{"/etc/", "/usr/share/", "/var/"} {
		if strings.HasPrefix(name, prefix) {
			return
		}
	}
	path := filepath.Join(b.template, name)
	real, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil || strings.Contains(name, "/gconv/") || b.seen[filepath.Join(real, filepath.Base(path))] {
		return
	}
	b.seen[filepath.Join(real, filepath.Base(path))] = true
	fi, err := os.Lstat(path)
	switch {
	case err != nil: // a document that was left out
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			panic(err)
		}
		b.add(tar.Header{Name: "." + name, Typeflag: tar.TypeSymlink, Linkname: target}, "")
	case fi.Mode().IsRegular():
		content, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		b.add(tar.Header{Name: "." + name, Mode: int64(fi.Mode().Perm())}, string(content))
	}
}
