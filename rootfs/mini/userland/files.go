package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func ln(args []string) error {
	f := options("ln")
	symbolic, force := f.BoolP("symbolic", "s", false, "symbolic links"), f.BoolP("force", "f", false, "replace what is there")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() < 1 || f.NArg() > 2 {
		return errors.New("takes TARGET [NAME]")
	}
	target, name := f.Arg(0), filepath.Base(f.Arg(0))
	if f.NArg() == 2 {
		name = f.Arg(1)
		if fi, err := os.Stat(name); err == nil && fi.IsDir() {
			name = filepath.Join(name, filepath.Base(target))
		}
	}
	if *force {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if *symbolic {
		return os.Symlink(target, name)
	}
	return os.Link(target, name)
}

func rmdir(args []string) error {
	var errs []error
	for _, name := range args {
		errs = append(errs, func() error {
			fi, err := os.Lstat(name)
			if err == nil && !fi.IsDir() {
				return fmt.Errorf("%s: not a folder", name)
			}
			if err != nil {
				return err
			}
			return os.Remove(name)
		}())
	}
	return errors.Join(errs...)
}

func readlink(args []string) error {
	f := options("readlink")
	full := f.BoolP("canonicalize", "f", false, "follow all links")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, name := range f.Args() {
		to, err := os.Readlink(name)
		if *full {
			if to, err = filepath.Abs(name); err == nil {
				to, err = filepath.EvalSymlinks(to)
			}
		}
		if err != nil {
			return exitError(1)
		}
		fmt.Println(to)
	}
	return nil
}

func basename(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("takes NAME [SUFFIX]")
	}
	name := filepath.Base(args[0])
	if len(args) == 2 && name != args[1] {
		name = strings.TrimSuffix(name, args[1])
	}
	fmt.Println(name)
	return nil
}

func dirname(args []string) error {
	for _, name := range args {
		fmt.Println(filepath.Dir(strings.TrimRight(name, "/")))
	}
	return nil
}
