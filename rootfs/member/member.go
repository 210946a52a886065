package member

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Names bound the names of an archive.
type Names struct {
	Path  int // bytes of a name, and of what a symbolic link says
	Depth int // parts of a name

	// Foreign lets names be in other encodings than UTF-8, as those of a root file
	// system may be.
	Foreign bool
}

// maxPart is the longest part of a name that file systems have (NAME_MAX).
const maxPart = 255

// Clean checks a name and brings it into its one shape: "a/b" for "./a//b/", and for
// "/a/b", which some write. The top folder is ".". The error says what is wrong and
// does not repeat the name.
func (n Names) Clean(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("without a name")
	case len(name) > n.Path:
		return "", fmt.Errorf("a name longer than %d bytes", n.Path)
	case strings.ContainsRune(name, 0), !n.Foreign && !utf8.ValidString(name):
		return "", errors.New("a name that is not UTF-8 without NUL")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", errors.New("a name that leads out of the archive (..)")
		case len(part) > maxPart:
			return "", fmt.Errorf("a name with a part longer than %d bytes", maxPart)
		}
		if depth++; depth > n.Depth {
			return "", fmt.Errorf("a name more than %d folders deep", n.Depth)
		}
	}
	return path.Clean("./" + strings.TrimLeft(name, "/")), nil
}

// Target checks what a symbolic link says, which may be anything that the kernel takes.
func (n Names) Target(target string) error {
	switch {
	case target == "" || len(target) > n.Path:
		return fmt.Errorf("a symbolic link whose target is empty or longer than %d bytes", n.Path)
	case strings.ContainsRune(target, 0):
		return errors.New("a symbolic link to a name with NUL")
	}
	return nil
}

// Time brings a time into what every file system can keep and Go can convert: 1970 to
// 2242. Any other is the beginning of 1970.
func Time(t time.Time) time.Time {
	if s := t.Unix(); s < 0 || s >= 1<<33 {
		return time.Unix(0, 0)
	}
	return t
}

// Quote shows a name that a stranger chose: quoted, and cut when it is long.
func Quote(s string) string {
	const most = 120
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
