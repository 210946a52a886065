package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

const (
	defaultStateDir = "/var/lib/gilliam"
	defaultRunDir   = "/run/gilliam"
	socketName      = "hypervisor.sock"
)

// A serveConfig is all that the daemon may be told.
type serveConfig struct {
	port, basePort, maxProcs, keepEnded int

	runUser  string
	template string
	logSink  string // empty: none
	stateDir string
	socket   string // empty until complete
	runDir   string

	listen       netip.Addr
	insecureTCP  bool
	imageDirs    []string
	imageCache   int64
	imageScrub   int64
	imageLogins  string // empty: none
	imageFS      []string
	bindDirs     []string
	maxVolumes   int
	maxVolume    int64
	allowNets    []netip.Prefix
	allowedHosts []string

	callbackSecretFile string // empty: none
	callbackGiveUp     time.Duration
	callbackBackoff    time.Duration

	policy   isolate.Policy
	appArmor string

	reserve    proc.Reserve
	stopOnExit bool
	logSize    int64
	logRate    int64

	restarts proc.Backoff
	audit    time.Duration

	grace     time.Duration
	logFormat string
	logLevel  slog.Level
}

// flags adds the daemon's flags. The first six and their variables are the
// original's.
func (c *serveConfig) flags(to *pflag.FlagSet) {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.SortFlags, to.SortFlags = false, false
	add(f, &c.port, "port", "9000", "PORT", "TCP port of the API; 0 takes any that is free", intIn(0, 65535))
	add(f, &c.basePort, "base-port", "10000", "PORT", "first port of the pool that apps get theirs from", intIn(1, 65535))
	add(f, &c.maxProcs, "max-procs", "100", "N", "ports in the pool, and so procs that run at once", intIn(1, 65535))
	add(f, &c.runUser, "run-user", "gilliam", "USER", "user of the template that apps run as", parseUser)
	add(f, &c.template, "template", "", "NAME|DIR", "the default template: one of the store, or a folder (default the one named default, or STATE-DIR/template)", parseTemplate)
	add(f, &c.logSink, "log-sink", "udp://127.0.0.1:514", "URL", "syslog address that the apps' output also goes to, or none", parseSink)

	add(f, &c.stateDir, "state-dir", defaultStateDir, "DIR", "where everything that lasts is kept", parsePath)
	add(f, &c.runDir, "run-dir", defaultRunDir, "DIR", "where hypervisors on this machine share out ports and ids", parsePath)
	add(f, &c.socket, "socket", "", "PATH", "unix socket of the API (default "+defaultSocket(defaultStateDir)+", or STATE-DIR/"+socketName+" with another STATE-DIR)", parseMaybePath)
	add(f, &c.listen, "listen", "127.0.0.1", "IP", "address that the TCP port of the API is on", parseAddr)
	f.BoolVar(&c.insecureTCP, "insecure-tcp", false, "ask no token of TCP clients, for old ones; only on loopback")
	addList(f, &c.imageDirs, "image-dir", "DIR", "folder below which an image may be a file of this host; repeatable", parsePath)
	add(f, &c.imageCache, "image-cache-size", "10G", "SIZE", "disk that images may take; beyond it go those that no app uses, the least recently used first", parseSize)
	add(f, &c.imageScrub, "image-scrub-rate", "4M", "SIZE", "bytes a second at which all images are read again once a day, to find damage; empty: not at all", parseSize)
	add(f, &c.imageLogins, "image-credentials", "", "FILE", "logins for the servers of images, a line each: HOST basic USER PASSWORD, or HOST bearer TOKEN; mode 0600, read at start", parseMaybePath)
	addList(f, &c.imageFS, "allow-image-fs", "TYPE", "file system that an image may be, squashfs or erofs, for the kernel to mount as it is: only where those who make images are trusted not to attack that; repeatable", parseImageFS)
	addList(f, &c.allowNets, "allow-net", "CIDR", "private or loopback network that images and callbacks may be at; repeatable", parseNet)
	addList(f, &c.allowedHosts, "allowed-host", "NAME", "further name of this host in the URLs of TCP clients; repeatable", parseHost)
	add(f, &c.grace, "grace", "8s", "DURATION", "from the first SIGTERM to SIGKILL when a proc is stopped", parseDuration)
	f.BoolVar(&c.stopOnExit, "stop-on-exit", false, "stop every app when the daemon is told to end; otherwise they go on for the next one")
	add(f, &c.restarts.First, "restart-wait", "1s", "DURATION", "before a proc's first restart in a row; twice as long each time", parseDuration)
	add(f, &c.restarts.Most, "restart-wait-max", "5m", "DURATION", "at most; a proc that ran for so long begins anew", parseDuration)
	add(f, &c.audit, "audit-interval", "1m", "DURATION", "between looks for what is left of procs that are gone, which is removed", durationUpTo(24*time.Hour))
	add(f, &c.reserve, "disk-reserve", "5%", "SIZE", "what new procs leave free of the state folder's disk, as 10G or 5%; they are refused beyond it", parseReserve)
	add(f, &c.logSize, "log-size", "8M", "SIZE", "most bytes of each of the two files that a proc's output is kept in", parseSize)
	add(f, &c.logRate, "log-rate", "16M", "SIZE", "bytes of a proc's output that are kept each second; more is dropped and counted", parseSize)
	add(f, &c.keepEnded, "keep-ended", "1000", "N", "ended procs that are kept to be looked at", intIn(1, 1_000_000))
	add(f, &c.callbackSecretFile, "callback-secret-file", "", "FILE", "sign callbacks with the secret on each line of this file, mode 0600; read at start", parseMaybePath)
	add(f, &c.callbackGiveUp, "callback-give-up", "24h", "DURATION", "how long a callback is tried before it is a dead letter", durationUpTo(30*24*time.Hour))
	add(f, &c.callbackBackoff, "callback-backoff", "5m", "DURATION", "longest wait between two attempts of a callback", durationUpTo(time.Hour))
	add(f, &c.logFormat, "log-format", "text", "FORMAT", "text or json", parseLogFormat)
	add(f, &c.logLevel, "log-level", "info", "LEVEL", "debug, info, warn or error", parseLogLevel)
	c.policyFlags(f)

	original := map[string]string{
		"port": "PORT", "base-port": "BASE_PORT", "max-procs": "MAX_PROCS", "run-user": "RUNUSER", "template": "TEMPLATE", "log-sink": "LOGSINK",
	}
	f.VisitAll(func(flag *pflag.Flag) {
		twin(f, flag.Name, cmp.Or(original[flag.Name], "GILLIAM_"+strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))))
	})
	if err := f.SetAnnotation("log-sink", emptyCounts, []string{"none"}); err != nil {
		panic("bug: " + err.Error())
	}
	to.AddFlagSet(f)
}

// policyFlags adds those that say what apps may ask for.
func (c *serveConfig) policyFlags(f *pflag.FlagSet) {
	addList(f, &c.policy.Capabilities, "allow-cap", "CAP", "capability that apps may ask for, as CAP_CHOWN; repeatable", isolate.ParseCapability)
	addList(f, &c.bindDirs, "allow-bind", "DIR", "folder that apps may ask to have mounted, or what is in it, read-only; repeatable", parsePath)
	add(f, &c.maxVolumes, "max-volumes", "100", "N", "volumes that there may be; 0 allows none", intIn(0, 1_000_000))
	add(f, &c.maxVolume, "max-volume-size", "", "SIZE", "largest size that a volume may have; it must then have one (default any, or none)", parseSize)
	f.BoolVar(&c.policy.Root, "allow-root", false, "let apps ask to run as root of their own user namespace")
	f.BoolVar(&c.policy.Seccomp, "allow-seccomp", false, "let apps bring a seccomp profile of their own")
	f.StringVar(&c.appArmor, "apparmor-profile", "", "`PROFILE` of AppArmor that apps run under, or unconfined (default gilliam or docker-default, where one is loaded)")
	limits := &c.policy.Max
	add(f, &limits.Memory, "max-memory", "", "SIZE", "most memory that an app may ask for (default no limit)", parseSize)
	add(f, &limits.Pids, "max-pids", "", "N", "most processes and threads that an app may ask for (default no limit)", parseCount)
	add(f, &limits.CPU, "max-cpu", "", "N", "most CPUs that an app may ask for; it must then ask (default no limit)", parseCPU)
	add(f, &limits.Disk, "max-disk", "", "SIZE", "most disk that an app may ask for (default no limit)", parseSize)
	add(f, &limits.Inodes, "max-inodes", "", "N", "most files and folders that an app may ask for (default no limit)", parseCount)
	add(f, &limits.CPUWeight, "max-cpu-weight", "", "N", "highest cpu_weight that an app may ask for (default 100, what all have)", parseCount)
	addSettings(f, ioSettings(&limits.IO), "max-io", "most I/O that an app may ask for; for a rate it must then ask (default any rate, weight=100)")
	addSettings(f, boundSettings(&limits.Rlimits), "max-rlimit", "highest rlimit that an app may ask for; for fsize it must then ask (default nofile=16384, memlock=64K)")
}

// complete fills in what follows from other values, and checks them together.
func (c *serveConfig) complete() error {
	if c.socket == "" {
		c.socket = defaultSocket(c.stateDir)
	}
	if n := len(c.socket); n > server.MaxSocketPath {
		return usagef("--socket: the path of a unix socket has at most %d bytes, %s has %d: give a shorter one", server.MaxSocketPath, c.socket, n)
	}
	if last := c.basePort + c.maxProcs - 1; last > 65535 {
		return usagef("--base-port and --max-procs: the pool %d to %d goes beyond port 65535", c.basePort, last)
	}
	if err := c.allowTCP(netip.AddrPortFrom(c.listen, uint16(c.port))); err != nil {
		return &usageError{err}
	}
	return nil
}

// allowTCP tells whether the API may be on a TCP address.
func (c *serveConfig) allowTCP(on netip.AddrPort) error {
	if port := int(on.Port()); port >= c.basePort && port < c.basePort+c.maxProcs {
		return fmt.Errorf("--port: %d is in the pool of the apps' ports, %d to %d: choose another, or move the pool with --base-port", port, c.basePort, c.basePort+c.maxProcs-1)
	}
	if c.insecureTCP && !on.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("--insecure-tcp: only with --listen on a loopback address, not %s: everyone who reaches it would be root here", on.Addr())
	}
	return nil
}

// defaultSocket is where the daemon of a state folder is found.
func defaultSocket(stateDir string) string {
	if stateDir == defaultStateDir {
		return filepath.Join(defaultRunDir, socketName)
	}
	return filepath.Join(stateDir, socketName)
}
