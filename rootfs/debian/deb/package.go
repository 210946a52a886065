package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// A Package is an open file of one.
type Package struct {
	Control control.Paragraph
	Text    string   // the control file itself
	Info    []Info   // what else belongs into dpkg's database
	Configs []string // configuration files, absolute

	data *io.SectionReader
}

// An Info is a file of the control archive: a script or a list.
type Info struct {
	Name    string
	Mode    int64
	Content []byte
}

// maxControl bounds all files of the control archive together.
const maxControl = 32 << 20

// Open reads all of a package but its files. The file must stay open until these
// were unpacked.
func Open(f *os.File) (*Package, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return read(f, fi.Size())
}

func read(r io.ReaderAt, size int64) (*Package, error) {
	members, err := readAr(r, size)
	if err != nil {
		return nil, err
	}
	if len(members) < 3 || members[0].name != "debian-binary" {
		return nil, errors.New("not a Debian package: it must begin with debian-binary, control.tar and data.tar")
	}
	version, err := io.ReadAll(io.LimitReader(members[0].body, 64))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(version), "2.") {
		return nil, fmt.Errorf("format %.20q of Debian packages is not known", version)
	}
	p := &Package{}
	for _, m := range members[1:] {
		base, _, _ := strings.Cut(m.name, ".tar")
		switch {
		case strings.HasPrefix(m.name, "_"): // to be ignored, says deb(5)
		case base == "control" && p.Control == nil:
			if err := p.readControl(m.body); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
		case base == "data" && p.data == nil && p.Control != nil:
			p.data = m.body
		case p.data == nil:
			return nil, fmt.Errorf("member %.20q where control.tar and data.tar were to come", m.name)
		}
	}
	if p.data == nil {
		return nil, errors.New("has no data.tar")
	}
	return p, nil
}

// readControl reads the control archive.
func (p *Package) readControl(r io.Reader) error {
	plain, _, err := rootfs.Decompress(r)
	if err != nil {
		return err
	}
	defer plain.Close()
	t := tar.NewReader(io.LimitReader(plain, maxControl))
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir && name == "" {
			continue
		}
		if h.Typeflag != tar.TypeReg || !control.ValidName(strings.ToLower(name)) {
			return fmt.Errorf("%.80q is no file of a control archive", h.Name)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if name == "control" {
			p.Text = string(b)
			continue
		}
		p.Info = append(p.Info, Info{name, h.Mode & 0o777, b})
	}
	return p.parse()
}

// parse reads the control file and the list of configuration files.
func (p *Package) parse() error {
	var err error
	if p.Control, err = control.NewReader(p.Text).Next(); err != nil {
		return fmt.Errorf("control file: %w", err)
	}
	name, arch := p.Control.Get("Package"), p.Control.Get("Architecture")
	if !control.ValidName(name) || !control.ValidName(arch) {
		return fmt.Errorf("control file: Package %.80q, Architecture %.80q: not names of such", name, arch)
	}
	if _, err := control.ParseVersion(p.Control.Get("Version")); err != nil {
		return fmt.Errorf("control file: %w", err)
	}
	for line := range strings.Lines(string(p.Get("conffiles"))) {
		line = strings.TrimRight(line, " \t\n")
		if strings.HasPrefix(line, "/") && path.Clean(line) == line { // not "remove-on-upgrade /…": there is nothing to remove
			p.Configs = append(p.Configs, line)
		}
	}
	return nil
}

// Get is the content of a file of the control archive, nil when there is none.
func (p *Package) Get(name string) []byte {
	for _, i := range p.Info {
		if i.Name == name {
			return i.Content
		}
	}
	return nil
}

// Name, Version and Arch are those of the control file.
func (p *Package) Name() string    { return p.Control.Get("Package") }
func (p *Package) Version() string { return p.Control.Get("Version") }
func (p *Package) Arch() string    { return p.Control.Get("Architecture") }
