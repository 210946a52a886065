package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadSecrets(t *testing.T) {
	const first, second = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // the secrets, or a part of the error
	}{
		"one":            {first, 0o600, first},
		"two":            {"# new\n" + second + "\n\n  # old\n" + first + "\r\n", 0o400, second + " " + first},
		"for all to see": {first, 0o640, "chmod 600"},
		"none":           {"# nothing\n", 0o600, "1 to 8 secrets"},
		"too many":       {strings.Repeat(first+"\n", 9), 0o600, "1 to 8 secrets"},
		"a password":     {first + "\nletmein\n", 0o600, "line 2: must be whsec_"},
		"too long":       {strings.Repeat("#\n", 40<<10), 0o600, "too long"},
	} {
		path := filepath.Join(t.TempDir(), "secrets")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		secrets, err := readSecrets(path)
		var got []string
		for _, s := range secrets {
			got = append(got, string(s))
		}
		switch {
		case err == nil && strings.Join(got, " ") != c.want:
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		case err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "letmein") || strings.Contains(err.Error(), "MfKQ")):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if got, err := readSecrets(""); got != nil || err != nil {
		t.Errorf("no file: got %v %v", got, err)
	}
	for _, path := range []string{t.TempDir(), "/does/not/exist"} {
		if _, err := readSecrets(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
