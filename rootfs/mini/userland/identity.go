package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// options begins the flags of a program.
func options(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.SetInterspersed(false)
	return f
}

// named is a number with its name in brackets, where it has one.
func named(id int, name string) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return fmt.Sprintf("%d(%s)", id, name)
}

func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}

func groupName(gid int) string {
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		return ""
	}
	return g.Name
}

func id(args []string) error {
	f := options("id")
	u, g, n := f.BoolP("user", "u", false, "only the user"), f.BoolP("group", "g", false, "only the group"), f.BoolP("name", "n", false, "the name and not the number")
	if err := f.Parse(args); err != nil {
		return err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	switch {
	case *u && *n:
		fmt.Println(userName(uid))
	case *u:
		fmt.Println(uid)
	case *g && *n:
		fmt.Println(groupName(gid))
	case *g:
		fmt.Println(gid)
	default:
		groups, err := os.Getgroups()
		if err != nil {
			return err
		}
		all := []string{named(gid, groupName(gid))}
		for _, more := range groups {
			if more != gid {
				all = append(all, named(more, groupName(more)))
			}
		}
		fmt.Printf("uid=%s gid=%s groups=%s\n", named(uid, userName(uid)), named(gid, groupName(gid)), strings.Join(all, ","))
	}
	return nil
}

func whoami([]string) error {
	name := userName(os.Geteuid())
	if name == "" {
		return fmt.Errorf("no name for user %d", os.Geteuid())
	}
	fmt.Println(name)
	return nil
}

func hostname([]string) error {
	name, err := os.Hostname()
	if err == nil {
		fmt.Println(name)
	}
	return err
}

func uname(args []string) error {
	f := options("uname")
	all := f.BoolP("all", "a", false, "everything")
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	parts := []struct {
		on    *bool
		value []byte
	}{
		{f.BoolP("kernel-name", "s", false, "name of the kernel"), u.Sysname[:]}, {f.BoolP("nodename", "n", false, "name of the host"), u.Nodename[:]},
		{f.BoolP("kernel-release", "r", false, "release of the kernel"), u.Release[:]}, {f.BoolP("kernel-version", "v", false, "version of the kernel"), u.Version[:]},
		{f.BoolP("machine", "m", false, "kind of machine"), u.Machine[:]},
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	var shown []string
	for _, p := range parts {
		if *all || *p.on {
			shown = append(shown, unix.ByteSliceToString(p.value))
		}
	}
	if len(shown) == 0 {
		shown = []string{unix.ByteSliceToString(u.Sysname[:])}
	}
	fmt.Println(strings.Join(shown, " "))
	return nil
}

func nproc([]string) error {
	fmt.Println(runtime.NumCPU())
	return nil
}

// date shows the time, in a format of strftime(3) as far as scripts use it.
func date(args []string) error {
	f := options("date")
	utc := f.BoolP("utc", "u", false, "in UTC")
	if err := f.Parse(args); err != nil {
		return err
	}
	now := time.Now()
	if *utc {
		now = now.UTC()
	}
	format := "+%a %b %e %H:%M:%S %Z %Y"
	if f.NArg() > 0 {
		format = f.Arg(0)
	}
	if !strings.HasPrefix(format, "+") {
		return errors.New("takes a format that begins with + only")
	}
	pairs := []string{
		"%Y", "2006", "%m", "01", "%d", "02", "%e", "_2", "%H", "15", "%M", "04", "%S", "05", "%N", "000000000", "%a", "Mon", "%b", "Jan",
		"%Z", "MST", "%z", "-0700", "%F", "2006-01-02", "%T", "15:04:05",
	}
	out := strings.NewReplacer("%s", strconv.FormatInt(now.Unix(), 10), "%%", "%", "%n", "\n")
	var b strings.Builder
	for text := format[1:]; text != ""; {
		at := strings.IndexByte(text, '%')
		if at < 0 || at+1 == len(text) {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:at])
		verb := text[at : at+2]
		text = text[at+2:]
		b.WriteString(out.Replace(verbOf(pairs, verb, now)))
	}
	fmt.Println(b.String())
	return nil
}

func verbOf(pairs []string, verb string, now time.Time) string {
	for n := 0; n < len(pairs); n += 2 {
		if pairs[n] == verb {
			return strings.TrimPrefix(now.Format("."+pairs[n+1]), ".")
		}
	}
	return verb
}
