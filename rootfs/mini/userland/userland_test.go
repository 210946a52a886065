package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bin is a folder with all programs.
var bin string

func TestMain(m *testing.M) {
	// Under another name the test is the program that it is called by.
	if name := filepath.Base(os.Args[0]); programs()[name] != nil {
		os.Exit(run(os.Args))
	}
	dir, err := os.MkdirTemp("", "userland")
	if err == nil {
		bin = dir
		var self string
		if self, err = os.Executable(); err == nil {
			for _, name := range names() {
				err = errors.Join(err, os.Symlink(self, filepath.Join(dir, name)))
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// call runs a program in a folder and returns what it writes, and its status.
func call(t *testing.T, dir, stdin string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, args[0]), args[1:]...)
	cmd.Env, cmd.Dir = []string{"PATH=" + bin, "HOME=/app"}, dir
	var b bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &b, &b
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			return b.String(), 128 + int(status.Signal())
		}
		return b.String(), exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return b.String(), 0
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("b 2\na 10\nb 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line, stdin, want string
		code              int
	}{
		{"cat f", "", "b 2\na 10\nb 2\n", 0},
		{"cat none", "", "none", 1},
		{"head -n 1 f", "", "b 2\n", 0},
		{"head -1 f", "", "b 2\n", 0},
		{"head -c 3", "abcdef", "abc", 0},
		{"tail -n 1 f", "", "b 2\n", 0},
		{"tail -n +2 f", "", "a 10\nb 2\n", 0},
		{"tail --lines=x f", "", "no number of lines", 1},
		{"wc -l f", "", "3 f\n", 0},
		{"wc", "one two\n", "1 2 8\n", 0},
		{"grep -c b f", "", "2\n", 0},
		{"grep -n ^a f", "", "2:a 10\n", 0},
		{"grep x f", "", "", 1},
		{"grep -q x none", "", "none", 2},
		{"grep -vFx b f", "b\nb c\n", "b 2\na 10\nb 2\n", 0},
		{"grep -o [0-9]+ f", "", "2\n10\n2\n", 0},
		{"grep ( f", "", "missing", 2},
		{"grep -R x", "", "unknown", 2},
		{"sort -u f", "", "a 10\nb 2\n", 0},
		{"sort -n", "10\n9\n-1.5\n", "-1.5\n9\n10\n", 0},
		{"sort -rn", "1\n10\n", "10\n1\n", 0},
		{"uniq -c", "a\na\nb\n", "      2 a\n      1 b\n", 0},
		{"cut -d : -f 1,3- ", "a:b:c:d\nwhole\n", "a:c:d\nwhole\n", 0},
		{"cut -c 2-3", "abcd\n", "bc\n", 0},
		{"cut -f 0", "", "no list", 1},
		{"tr a-c A-C", "abcd", "ABCd", 0},
		{"tr -d \\n", "a\nb\n", "ab", 0},
		{"seq 2 2 6", "", "2\n4\n6\n", 0},
		{"seq 1 0 2", "", "the step is 0", 1},
		{"basename /a/b.sh .sh", "", "b\n", 0},
		{"dirname /a/b", "", "/a\n", 0},
		{"env -i A=1 env", "", "command not found", 127},
		{"env -u HOME A=1 sh -c env", "", "A=1\n", 0},
		{"sleep x", "", "no time", 1},
		{"kill -0 1x", "", "1x", 1},
		{"kill -NONE 1", "", "no signal", 1},
		{"test 1 = 1", "", "", 0},
		{"[ -d /none ]", "", "", 1},
		{"echo -n a", "", "a", 0},
		{"true", "", "", 0},
		{"false", "", "", 1},
		{"userland none", "", "no program", 127},
		{"readlink none", "", "", 1},
		{"ln -s f l", "", "", 0},
		{"readlink l", "", "f\n", 0},
		{"rmdir f", "", "not a folder", 1},
		{"date +%%x", "", "%x\n", 0},
		{"date x", "", "begins with +", 1},
	} {
		out, code := call(t, dir, c.stdin, strings.Fields(c.line)...)
		if code != c.code || out != c.want && (c.code == 0 && !strings.Contains(c.line, "env") || !strings.Contains(out, c.want)) {
			t.Errorf("%s: got %d %q, want %d %q", c.line, code, out, c.code, c.want)
		}
	}
}

func TestShell(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("echo \"$0 $1\"; . ./lib; exec echo end"), 0o644); err != nil {
		t.Fatal(err)
	}
	// As long as the script's own exec is far in, so that places could be mistaken.
	if err := os.WriteFile(filepath.Join(dir, "lib"), []byte("                    echo before; true; cat /dev/null; echo lib"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		want  string
		code  int
	}{
		"arguments":      {[]string{"-c", `printf '<%s>' "$0" "$@"`, "name", "a b", ""}, "", "<name><a b><>", 0},
		"login":          {[]string{"-l", "-c", "echo $HOME"}, "", "/app\n", 0},
		"together":       {[]string{"-lec", "false; echo no"}, "", "", 1},
		"status":         {[]string{"-c", "exit 7"}, "", "", 7},
		"last status":    {[]string{"-c", "true; false"}, "", "", 1},
		"not found":      {[]string{"-c", "nothing-like-it"}, "", "command not found", 127},
		"not executable": {[]string{"-c", "./script"}, "", "permission denied", 126},
		"syntax":         {[]string{"-c", `echo "x`}, "", "without closing quote", 2},
		"option":         {[]string{"-Z"}, "", "no option -Z", 2},
		"no line":        {[]string{"-c"}, "", "needs a command line", 2},
		"no script":      {[]string{"none"}, "", "no such file", 127},
		"script":         {[]string{"script", "x"}, "", "script x\nbefore\nlib\nend\n", 0},
		"stdin":          {nil, "echo a; exec echo b; echo c", "a\nb\n", 0},
		"subshell":       {[]string{"-c", "(exec echo a); x=$(exec echo b); echo $x; exec echo c | cat; echo d"}, "", "a\nb\nc\nd\n", 0},
		"in an if":       {[]string{"-c", "if true; then exec echo a; fi; echo b"}, "", "a\n", 0},
		"exec fails":     {[]string{"-c", "exec nothing-like-it; echo on"}, "", "command not found", 127},
		"redirections":   {[]string{"-c", "exec sh -c 'echo out; echo err >&2' >o 2>&1"}, "", "", 0},
		"trap":           {[]string{"-c", "trap 'echo bye' EXIT; true"}, "", "bye\n", 0},
		"signal":         {[]string{"-c", "kill -9 $$"}, "", "", 137},
		"assignment":     {[]string{"-c", "A=1 env"}, "", "A=1\n", 0},
		"eval":           {[]string{"-c", "eval 'echo a'; echo b"}, "", "a\nb\n", 0},
		"same process":   {[]string{"-c", `a=$$; exec sh -c "[ \$\$ = $a ] && echo same"`}, "", "same\n", 0},
		"last command":   {[]string{"-c", `a=$$; sh -c "[ \$\$ = $a ] && echo same"`}, "", "same\n", 0},
		"not the last":   {[]string{"-c", `a=$$; sh -c "[ \$\$ = $a ] || echo other"; true`}, "", "other\n", 0},
	} {
		out, code := call(t, dir, c.stdin, append([]string{"sh"}, c.args...)...)
		if code != c.code || out != c.want && !(strings.Contains(out, c.want) && (code != 0 || name == "assignment")) {
			t.Errorf("%s: got %d %q, want %d %q", name, code, out, c.code, c.want)
		}
	}
	if out, code := call(t, dir, "", "sh", "-c", "cat o"); code != 0 || out != "out\nerr\n" {
		t.Errorf("redirected: got %d %q", code, out)
	}
}
