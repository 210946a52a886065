package debian

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
	"github.com/gilliam/hypervisor/rootfs/debian/deb"
	"github.com/gilliam/hypervisor/rootfs/debian/resolve"
)

// dpkg's database in a tree: a paragraph for each package, the files of its control
// archive, and the lists of its files.
const (
	adminDir  = "var/lib/dpkg"
	statusDB  = adminDir + "/status"
	infoDir   = adminDir + "/info"
	maxStatus = 256 << 20
)

// infoName is what the names of a package's files in the database begin with.
func (u *unpacked) infoName() string {
	if u.deb.Control.Get("Multi-Arch") == "same" {
		return u.Name + ":" + u.deb.Arch()
	}
	return u.Name
}

// record writes packages that were unpacked into the database.
func (j *job) record(list []*unpacked) error {
	for _, dir := range []string{infoDir, adminDir + "/updates", adminDir + "/triggers", adminDir + "/alternatives", adminDir + "/parts"} {
		if err := j.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := j.writeNew(infoDir+"/format", []byte("1\n"), 0o644); err != nil {
		return err
	}
	if err := j.writeNew(adminDir+"/available", nil, 0o644); err != nil {
		return err
	}
	var status strings.Builder
	for _, u := range list {
		for _, i := range u.deb.Info {
			if err := j.write(infoDir+"/"+u.infoName()+"."+i.Name, i.Content, fs.FileMode(i.Mode)); err != nil {
				return err
			}
		}
		names := j.without(u)
		if err := j.write(infoDir+"/"+u.infoName()+".list", []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
			return err
		}
		status.WriteString(statusOf(u.deb))
	}
	f, err := j.root.OpenFile(statusDB, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(status.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return j.recordTriggers(list)
}

// without are the names of a package's files, but those that another one replaces.
func (j *job) without(u *unpacked) []string {
	var lost []string
	for _, l := range j.tree.Lost() {
		if l.Package == u.Name {
			lost = append(lost, l.File)
		}
	}
	return slices.DeleteFunc(u.names, func(name string) bool { return slices.Contains(lost, name) })
}

// statusOf is a package's paragraph in the state that dpkg calls unpacked.
func statusOf(p *deb.Package) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nStatus: install ok unpacked\n", p.Name())
	for _, f := range p.Control {
		switch strings.ToLower(f.Name) {
		case "package", "status", "conffiles", "config-version":
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	if len(p.Configs) > 0 {
		b.WriteString("Conffiles:\n")
		for _, name := range p.Configs {
			fmt.Fprintf(&b, " %s newconffile\n", name)
		}
	}
	b.WriteString("\n")
	return b.String()
}

// write replaces a file of the database.
func (j *job) write(name string, content []byte, mode fs.FileMode) error {
	if err := j.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.writeNew(name, content, mode)
}

// writeNew writes a file that is not there, and leaves one that is.
func (j *job) writeNew(name string, content []byte, mode fs.FileMode) error {
	f, err := j.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// readFile reads a file of the tree to at most so many bytes.
func readFile(root *os.Root, name string, most int64) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return "", err
	} else if !fi.Mode().IsRegular() || fi.Size() > most {
		return "", &fs.PathError{Op: "read", Path: name, Err: errors.New("no file, or too long")}
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	return string(b), err
}

// paragraphs are those of dpkg's status.
func paragraphs(root *os.Root) ([]control.Paragraph, error) {
	text, err := readFile(root, statusDB, maxStatus)
	if err != nil {
		return nil, fmt.Errorf("read the packages of the template: %w", err)
	}
	var list []control.Paragraph
	r := control.NewReader(text)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read /%s: %w", statusDB, err)
		}
		list = append(list, p)
	}
}

const installedState = "install ok installed"

// readStatus lists what is installed. A system that has something else to finish is
// refused.
func readStatus(root *os.Root) ([]*resolve.Package, error) {
	all, err := paragraphs(root)
	if err != nil {
		return nil, err
	}
	list := []*resolve.Package{}
	for _, p := range all {
		state := p.Get("Status")
		if strings.HasSuffix(state, " config-files") || strings.HasSuffix(state, " not-installed") {
			continue
		}
		if !strings.HasSuffix(state, " ok installed") {
			return nil, fmt.Errorf("package %s is in state %q: the template is not complete", p.Get("Package"), state)
		}
		one, err := indexed(p)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// ownInstalled tells the tree whose its files are.
func (j *job) ownInstalled() error {
	if j.installed == nil {
		return nil
	}
	replaces := map[string]*deb.Owner{}
	all, err := paragraphs(j.root)
	if err != nil {
		return err
	}
	for _, p := range all {
		replaces[p.Get("Package")] = &deb.Owner{Name: p.Get("Package"), Version: p.Get("Version"), Replaces: p.Get("Replaces")}
	}
	names, err := fs.Glob(j.root.FS(), infoDir+"/*.list")
	if err != nil {
		return err
	}
	for _, name := range names {
		pkg, _, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".list"), ":")
		o := replaces[pkg]
		if o == nil {
			continue
		}
		text, err := readFile(j.root, name, maxStatus)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			file := strings.TrimSuffix(line, "\n")
			if fi, err := j.root.Lstat(strings.TrimPrefix(file, "/")); err == nil && !fi.IsDir() {
				j.tree.Own(file, o)
			}
		}
	}
	return nil
}

// complete makes sure that dpkg has installed all that was chosen.
func (j *job) complete() error {
	all, err := paragraphs(j.root)
	if err != nil {
		return err
	}
	state := map[string]string{}
	for _, p := range all {
		state[p.Get("Package")] = p.Get("Status")
	}
	for _, p := range j.chosen {
		if s := state[p.Name]; s != installedState {
			return fmt.Errorf("package %s: is in state %q after all were configured", p.Name, s)
		}
	}
	return nil
}
