package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
)

// maxSecrets bounds how many secrets sign a callback at once: the new one, the
// old one, and some.
const maxSecrets = 8

// readSecrets reads the file of the secrets that sign callbacks, one a line;
// lines that are empty or begin with # are left out. No file is no secret.
func readSecrets(path string) ([]proc.Secret, error) {
	if path == "" {
		return nil, nil
	}
	b, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("--callback-secret-file: %w", err)
	}
	var secrets []proc.Secret
	n := 0
	for text := range strings.Lines(string(b)) {
		n++
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := proc.ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("--callback-secret-file: %s: line %d: %w", path, n, err)
		}
		secrets = append(secrets, s)
	}
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return nil, fmt.Errorf("--callback-secret-file: %s: must hold 1 to %d secrets, one a line", path, maxSecrets)
	}
	return secrets, nil
}

// readLogins reads the file of logins for the servers of images.
func readLogins(path string) (*rootfs.Credentials, error) {
	if path == "" {
		return nil, nil
	}
	b, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("--image-credentials: %w", err)
	}
	c, err := rootfs.ParseCredentials(string(b))
	if err != nil {
		return nil, fmt.Errorf("--image-credentials: %s: %w", path, err)
	}
	return c, nil
}

// readPrivate reads a file that only its owner may read.
func readPrivate(path string) ([]byte, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s: must be a file", path)
	case st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s: others may read it (mode %04o): chmod 600 it", path, st.Mode().Perm())
	case st.Size() > 64<<10:
		return nil, errors.New(path + ": is too long to be one of secrets")
	}
	return os.ReadFile(path)
}
