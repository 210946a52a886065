package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

func main() {
	verbs := map[string]func(dir string) error{"write": write, "check": check}
	if len(os.Args) != 3 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: powercut write|check DIR")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

// What a name of a file begins with.
const (
	flushed  = "flushed-" // the file is on the disk when it is counted as durable
	careless = "careless-"
)

// content is what the n-th file holds: some of it on a block of its own, and all
// of it in the sum at the end.
func content(name string) []byte {
	text := bytes.Repeat([]byte(name+"\n"), 1000)
	sum := sha256.Sum256(text)
	return append(text, sum[:]...)
}

// write goes on where another one has ended.
func write(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, flushed+"*"))
	if err != nil {
		return err
	}
	for n := len(all) + 1; ; n++ {
		loose := careless + strconv.Itoa(n)
		if err := os.WriteFile(filepath.Join(dir, loose), content(loose), 0o600); err != nil {
			return err
		}
		if err := writeDurably(dir, flushed+strconv.Itoa(n)); err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString(job.Fact("durable", strconv.Itoa(n))); err != nil {
			return err
		}
	}
}

func writeDurably(dir, name string) error {
	temp := filepath.Join(dir, "temp")
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(content(name))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// check counts files that are whole, from the first one on, and those that are
// not, of either kind.
func check(dir string) error {
	for _, kind := range []string{flushed, careless} {
		all, err := filepath.Glob(filepath.Join(dir, kind+"*"))
		if err != nil {
			return err
		}
		whole, torn := 0, 0
		for n := range len(all) {
			name := kind + strconv.Itoa(n+1)
			got, err := os.ReadFile(filepath.Join(dir, name))
			switch {
			case errors.Is(err, fs.ErrNotExist), err == nil && !bytes.Equal(got, content(name)):
				torn++
			case err != nil:
				return err
			case torn == 0:
				whole++
			}
		}
		facts := job.Fact(kind+"whole", strconv.Itoa(whole)) + job.Fact(kind+"torn", strconv.Itoa(torn))
		if _, err := os.Stdout.WriteString(facts); err != nil {
			return err
		}
	}
	return nil
}
