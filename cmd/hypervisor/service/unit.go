package service

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The names of the units. That they differ by their ends only is how systemd
// knows which socket is whose.
const (
	ServiceName = "hypervisor.service"
	SocketName  = "hypervisor.socket"
)

// Mark is in the first line of every unit that was made here.
const Mark = "# Made by hypervisor unit"

// A Unit is what the units say that is not the same everywhere. It makes text and
// touches nothing.
type Unit struct {
	Binary   string         // the daemon's program, an absolute path
	Args     []string       // what follows serve
	StateDir string         // absolute
	Socket   string         // the unix socket, absolute
	Group    string         // may use it beside root; empty: nobody may
	TCP      netip.AddrPort // port 0: left to the daemon
	Stop     time.Duration  // the longest that the daemon takes to end
}

// neverNeeded are capabilities that the daemon can do without. A sandbox has
// none of them on the host anyway: its user namespace has its own.
const neverNeeded = "CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_AUDIT_WRITE CAP_BLOCK_SUSPEND CAP_LEASE CAP_LINUX_IMMUTABLE CAP_MAC_OVERRIDE " +
	"CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_PACCT CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_SYSLOG CAP_WAKE_ALARM"

// watchdog is how long systemd waits for a beat of [Notifier.Watch].
const watchdog = 30 * time.Second

// Service is hypervisor.service.
func (u Unit) Service() string {
	command := []string{quote(":" + u.Binary), "serve"} // : keeps a $ as it is
	for _, arg := range u.Args {
		command = append(command, quote(arg))
	}
	return Mark + ` service: make it anew to change it.
[Unit]
Description=Gilliam Hypervisor: runs apps in sandboxes
Documentation=https://github.com/gilliam/hypervisor
Requires=` + SocketName + `
After=` + SocketName + ` network-online.target
Wants=network-online.target
RequiresMountsFor=` + quote(u.StateDir) + `
# The apps go on without their daemon, but nobody cares for them: never give up.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=` + strings.Join(command, " ") + `
Restart=always
RestartSec=1
` + fmt.Sprintf("WatchdogSec=%d\n", int(watchdog.Seconds())) + `# Every app is taken over before the daemon is ready.
TimeoutStartSec=300
` + fmt.Sprintf("TimeoutStopSec=%d\n", int(u.Stop.Seconds())) + `
# A stop or restart ends the daemon and nothing else. The apps are in cgroups of
# their own, below /gilliam and not below this unit; Delegate keeps the
# controllers that these need turned on.
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=1024:524288
OOMScoreAdjust=-900

# The daemon makes namespaces, mounts, cgroups and devices, so that little can be
# taken from it. No option that works by a seccomp filter or a mount namespace may
# stand here (Protect…, Private…, Restrict…, LockPersonality, SystemCall…): every
# sandbox would inherit it.
CapabilityBoundingSet=~` + neverNeeded + `

[Install]
WantedBy=multi-user.target
Also=` + SocketName + `
`
}

// SocketUnit is hypervisor.socket.
func (u Unit) SocketUnit() string {
	var b strings.Builder
	b.WriteString(Mark + ` socket: make it anew to change it.
[Unit]
Description=API of the Gilliam Hypervisor
Documentation=https://github.com/gilliam/hypervisor

[Socket]
ListenStream=` + specifiers(u.Socket) + "\n")
	if u.Group == "" {
		b.WriteString("SocketMode=0600\n")
	} else {
		fmt.Fprintf(&b, "SocketMode=0660\nSocketGroup=%s\n", u.Group)
	}
	if addr := u.TCP.Addr(); u.TCP.Port() != 0 {
		fmt.Fprintf(&b, "ListenStream=%s\n", u.TCP)
		if !addr.IsLoopback() && !addr.IsUnspecified() {
			b.WriteString("# The address may come later than the socket.\nFreeBind=yes\n")
		}
	}
	b.WriteString("RemoveOnStop=yes\n\n[Install]\nWantedBy=sockets.target\n")
	return b.String()
}

// quote writes one item of a line as systemd.syntax(7) has it.
func quote(s string) string {
	plain := s != ""
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
			plain = false
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
			plain = false
		default:
			b.WriteByte(c)
			plain = plain && c != ' ' && c != '\'' && c != ';'
		}
	}
	if s = specifiers(b.String()); plain {
		return s
	}
	return `"` + s + `"`
}

// specifiers keeps a % from beginning a specifier, systemd.unit(5).
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }
