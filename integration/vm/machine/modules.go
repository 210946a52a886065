package machine

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Modules finds the files of kernel modules, each one behind those that it needs,
// as modprobe(8) would load them. What is built into the kernel is left out. A
// package holds no modules.dep, depmod(8) makes it; but each module says what it
// needs.
func (k Kernel) Modules(names ...string) ([]string, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(k.modules, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no *.ko: compressed modules are not supported", k.modules)
	}
	list, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	builtin := make(map[string]bool)
	for path := range strings.Lines(string(list)) {
		builtin[moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(path)), ".ko"))] = true
	}
	return loadOrder(names, files, builtin, moduleNeeds)
}

// loadOrder is the modules' files, each once, behind those it needs.
func loadOrder(names []string, files map[string]string, builtin map[string]bool, needs func(file string) ([]string, error)) ([]string, error) {
	var order []string
	seen := make(map[string]bool)
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if seen[name] || builtin[name] {
			return nil
		}
		seen[name] = true
		file, ok := files[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		below, err := needs(file)
		if err != nil {
			return err
		}
		for _, n := range below {
			if err := add(n); err != nil {
				return fmt.Errorf("%s needs: %w", name, err)
			}
		}
		order = append(order, file)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is a module's name as the kernel knows it: a file may have a dash
// where the name has an underscore.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// moduleNeeds reads from a module's file which modules it needs.
func moduleNeeds(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("read %s: no section .modinfo", file)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return parseDepends(info), nil
}

// parseDepends reads the line depends=a,b of a section .modinfo, in which every
// line ends with a zero.
func parseDepends(info []byte) []string {
	for line := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}
