package selftest

import (
	"context"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// privilegeChecks are about who the program is and what it may do.
func privilegeChecks() []check {
	want := attacks.Privileges(user.UID, user.GID)
	is := func(words ...string) func(string) bool {
		return func(name string) bool {
			for _, w := range words {
				if strings.HasSuffix(name, w) {
					return true
				}
			}
			return false
		}
	}
	return []check{
		part("identity", "the program runs as its user and is in no group more", want, is("Uid", "Gid", "Groups"), "privileges"),
		{name: "ids", promise: "its ids are those of a range of the host's that nobody else has", run: ids},
		part("capabilities", "it has no capability in any of the five sets, and can gain none", want,
			is("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "capset", "ambient", "securebits", "setgroups", "setgid", "setuid", "setresuid", "setfsuid"),
			"privileges"),
		part("no-new-privs", "no program that it executes can give it a privilege: no_new_privs", want, is("NoNewPrivs", "no_new_privs"), "privileges"),
		part("seccomp", "a seccomp filter is in force for the program, its children and PID 1", want, is("Seccomp", "forget seccomp"), "privileges"),
		one("setuid", "programs with setuid or setgid bits or file capabilities give it nothing", attacks.Expectation{},
			"setuid", setuidFile, capableFile),
		one("environment", "it has the environment that it was given, and sees no other", attacks.Environment.With(map[string]string{
			"own": strings.Join(environment, "\n"),
		}), "environment"),
		{name: "signals", promise: "every signal has its default action, whatever the hypervisor ignores or blocks", run: signals},
		{name: "read-back", promise: "the kernel enforces all of the plan: ids, limits, mounts, masks, namespaces, cgroup", run: readBack},
	}
}

// ids compares the maps of ids.
func ids(ctx context.Context, b *bench) finding {
	s := b.spec(0, "self")
	r, err := b.attackIn(ctx, s)
	line := fmt.Sprintf("0 %d %d", s.IDs.Base, s.IDs.Size)
	want := attacks.Expectation{Want: map[string]string{"uid_map": line, "gid_map": line}}
	return judge(only(want, r, func(name string) bool { return strings.HasSuffix(name, "id_map") }, err))
}

// signals ignores one while it launches: of those that Go takes no notice of when
// a program starts with them ignored.
func signals(ctx context.Context, b *bench) finding {
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	r, err := b.attack(ctx, "self")
	const none = "0000000000000000"
	want := attacks.Expectation{Want: map[string]string{"SigBlk": none, "SigIgn": none}}
	return judge(only(want, r, func(name string) bool { return strings.HasPrefix(name, "Sig") }, err))
}

// readBack has the engine compare its plan with what the kernel says.
func readBack(ctx context.Context, b *bench) (f finding) {
	x, err := b.start(ctx, b.spec(0, "sleep"))
	if err != nil {
		return broken(err)
	}
	defer x.endWith(&f)
	if _, err := x.report(ctx); err != nil {
		return broken(err)
	}
	differences, err := x.Verify()
	if err != nil {
		return broken(err)
	}
	for _, d := range differences {
		f.wrong = append(f.wrong, isolate.Difference.String(d))
	}
	return f
}

// endWith ends the box with a check, whose finding it is when it cannot be ended.
func (x *box) endWith(f *finding) {
	if err := x.end(); err != nil {
		f.wrong = append(f.wrong, err.Error())
	}
}
