package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
)

// A runConfig is all that run may be told.
type runConfig struct {
	client clientConfig

	app, name, image, digest, shell, template string

	user    string
	caps    []string
	env     []envVar
	envFile []string
	mounts  []proc.Mount
	limits  proc.Limits
	network string
	care    proc.Supervision
	restart proc.Restart
	health  proc.Health
	checks  string

	callback, secretFile string

	detach, listening, remove, json, dryRun bool
}

func (a *app) runVerb() *cobra.Command {
	var cfg runConfig
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG]...",
		Short: "Run one proc, with its output here and its exit status",
		Long: `Run a command in a sandbox of its own. Its output comes out here, its exit
status becomes ours, and Ctrl-C stops it. With an image it runs in /app, where
the image is unpacked. An image of a registry, oci://…, is the whole root in
place of the template: its command runs unless there is another here, in its
environment and working directory, as its user if that is a number, else 1000.
After --detach it runs on by itself; with
--wait-listening too, we end when a process of it listens on the port that it
has in PORT.

The status is 125 when the proc could not be made or was never executed.`,
		Example: `  sudo hypervisor run -- /bin/echo hello
  sudo hypervisor run --shell 'env | sort; id'
  sudo hypervisor run --app blog --name web.1 --image https://example.com/blog.tar.gz \
      --env DEBUG=1 --memory 512M --detach --shell './run --port $PORT'
  sudo hypervisor run --image oci://registry.example.com/blog:1.2
  sudo hypervisor run --mount type=volume,source=blog,target=/data --mount type=tmpfs,target=/scratch,size=64M \
      --shell 'date >>/data/log; cat /data/log; df /scratch'
  sudo hypervisor run --detach --wait-listening --boot-timeout 30s --shell 'exec python3 -m http.server $PORT'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := cfg.request(args)
			if err != nil {
				return err
			}
			if cfg.dryRun {
				return a.printPlan(cmd.Context(), newClient(cfg.client), cfg.json, http.MethodPost, "/v1/procs?dry_run=true", req)
			}
			return a.runProc(cmd.Context(), &cfg, req)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	cfg.flags(cmd.Flags())
	return cmd
}

func (cfg *runConfig) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&cfg.app, "app", "run", "`NAME` of the app")
	f.StringVar(&cfg.name, "name", "", "`NAME` of the proc (default a random one)")
	f.StringVar(&cfg.image, "image", "", "`URL`, or path on the daemon's host, of a tar (.gz, .xz, .zst) or zip to be /app; or oci://REGISTRY/NAME:TAG, to be the whole root")
	f.StringVar(&cfg.digest, "image-digest", "", "`DIGEST` that the image must have: sha256: and what sha256sum(1) says of the archive")
	f.StringVar(&cfg.shell, "shell", "", "a `LINE` for the shell, in place of COMMAND")
	f.StringVar(&cfg.user, "user", "", "`USER`: root, of its own user namespace, where the daemon allows it; with an oci:// image also UID or UID:GID (default the template's or the image's)")
	addList(f, &cfg.caps, "cap", "CAP", "capability to have, as CAP_CHOWN, where the daemon allows it; repeatable", isolate.ParseCapability)
	addWhole(f, &cfg.mounts, "mount", mountKind, "what to mount: a volume by its name, with size=SIZE if it is to be made with one, a bind of a path on the daemon's host with readonly, or a tmpfs with size=SIZE and exec if wanted; repeatable", parseMount)
	addWhole(f, &cfg.env, "env", "KEY=VALUE", "variable of the app's environment; repeatable", parseEnv)
	f.StringArrayVar(&cfg.envFile, "env-file", nil, "`FILE` of KEY=VALUE lines; repeatable; --env wins")
	f.StringVar(&cfg.template, "template", "", "`NAME` of the template to run on (default \"default\")")
	limitFlags(f, &cfg.limits)
	f.StringVar(&cfg.network, "network", "", "`KIND` of network: host or none (default host)")
	f.StringVar((*string)(&cfg.restart.Policy), "restart", "", "start it again when it has ended: `POLICY` no, on-failure or always (default no)")
	f.IntVar(&cfg.restart.Max, "restart-max", 0, "at most `N` times in a row (default no limit)")
	f.StringVar(&cfg.checks, "health", "", "`CHECK` that it is well: http:/PATH or tcp on its port, or exec:LINE for the shell in its sandbox")
	add(f, &cfg.health.Interval, "health-interval", "", "DURATION", "between checks (default 10s)", parseSeconds)
	add(f, &cfg.health.Timeout, "health-timeout", "", "DURATION", "of one check (default 5s)", parseSeconds)
	add(f, &cfg.health.Start, "health-start", "", "DURATION", "in which it may fail its checks, until the first success (default 30s)", parseSeconds)
	f.IntVar(&cfg.health.Retries, "health-retries", 0, "`N` failures in a row end it (default 3)")
	add(f, &cfg.care.TTL, "ttl", "", "DURATION", "after which it is stopped (default never)", parseSeconds)
	add(f, &cfg.care.BootTimeout, "boot-timeout", "", "DURATION", "from its start, in which it must listen on PORT (default it need not)", parseSeconds)
	f.StringVar(&cfg.care.StopSignal, "stop-signal", "", "`SIGNAL` that asks it to end (default SIGTERM)")
	add(f, &cfg.care.Grace, "grace", "", "DURATION", "from that signal to SIGKILL (default the daemon's)", parseSeconds)
	f.StringVar(&cfg.callback, "callback", "", "`URL` that is told of every state of the proc")
	f.StringVar(&cfg.secretFile, "callback-secret-file", "", "`FILE` of the secret that signs what --callback is told, mode 0600 (default the daemon's)")
	f.BoolVarP(&cfg.detach, "detach", "d", false, "print the id and do not wait")
	f.BoolVar(&cfg.listening, "wait-listening", false, "with --detach: wait until it listens on PORT; the status is 125 when it ends instead")
	f.BoolVar(&cfg.dryRun, "dry-run", false, "print how it would be launched, every mount and limit, and launch nothing")
	f.BoolVar(&cfg.remove, "rm", false, "remove the proc when it has ended")
	f.BoolVar(&cfg.json, "json", false, "print the proc as JSON; its output goes to the standard error")
	cfg.client.flags(f)
}

// supervision is what the flags ask for beside running the proc.
func (c *runConfig) supervision() (proc.Supervision, error) {
	s := c.care
	if c.restart != (proc.Restart{}) {
		s.Restart = &c.restart
	}
	if c.checks == "" {
		return s, nil
	}
	s.Health = &c.health
	kind, what, _ := strings.Cut(c.checks, ":")
	switch {
	case c.checks == "tcp":
		s.Health.TCP = true
	case kind == "http" && what != "":
		s.Health.HTTP = what
	case kind == "exec" && what != "":
		s.Health.Exec = proc.Shell(what).Args()
		if rootfs.IsContainer(c.image) {
			s.Health.Exec = []string{"/bin/sh", "-c", what}
		}
	default:
		return s, usagef("--health: must be http:/PATH, tcp or exec:LINE, not %q", c.checks)
	}
	return s, nil
}

// request makes the request, and finds what is wrong with it here.
func (c *runConfig) request(args []string) (proc.Request, error) {
	req := proc.Request{
		App: c.app, Name: c.name, Image: c.image, ImageDigest: c.digest, Template: c.template, Network: isolate.Network(c.network),
		Limits: c.limits, User: c.user, Capabilities: c.caps, Mounts: c.mounts,
		Callback: c.callback,
	}
	switch {
	case c.shell != "" && len(args) > 0:
		return req, usagef("--shell: is in place of a command, not with one")
	case c.shell != "":
		req.Command = proc.Shell(c.shell)
	case len(args) > 0:
		req.Command = proc.Exec(args...)
	case rootfs.IsContainer(c.image): // what it says itself
	default:
		return req, usagef("a command is needed: hypervisor run -- /bin/echo hello, or hypervisor run --shell 'echo hello'")
	}
	var err error
	if req.Supervision, err = c.supervision(); err != nil {
		return req, err
	}
	if c.detach && c.remove {
		return req, usagef("--rm: not with --detach, which does not wait for the end")
	}
	if c.listening && !c.detach {
		return req, usagef("--wait-listening: only with --detach")
	}
	if req.Name == "" {
		req.Name = strings.ToLower(rand.Text()[:8])
	}
	if req.Image != "" && !strings.Contains(req.Image, "://") {
		path, err := filepath.Abs(req.Image)
		if err != nil {
			return req, err
		}
		req.Image = path
	}
	secrets, err := readSecrets(c.secretFile)
	switch {
	case err != nil:
		return req, &usageError{err}
	case len(secrets) > 1:
		return req, usagef("--callback-secret-file: %s: a proc has one secret", c.secretFile)
	case len(secrets) == 1:
		req.CallbackSecret = secrets[0]
	}
	req.Config, err = c.environment()
	return req, err
}

func (c *runConfig) environment() (map[string]string, error) {
	env := map[string]string{}
	for _, file := range c.envFile {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("--env-file: %w", err)
		}
		vars, err := parseEnvFile(string(b))
		if err != nil {
			return nil, usagef("--env-file: %s: %w", file, err)
		}
		for _, v := range vars {
			env[v.key] = v.value
		}
	}
	for _, v := range c.env {
		env[v.key] = v.value
	}
	return env, nil
}

// runProc makes the proc and stays with it to its end. When ctx ends, the proc
// is stopped and its last output still shown; nothing here but that stop ends
// with ctx, so that no proc is lost on the way.
func (a *app) runProc(ctx context.Context, cfg *runConfig, req proc.Request) error {
	c := newClient(cfg.client)
	lasting := context.WithoutCancel(ctx)
	p, err := c.create(lasting, req)
	if err != nil {
		return &exitError{exitNoProc, err}
	}
	if cfg.detach {
		return a.detached(ctx, c, cfg, p)
	}

	// Owned by runProc: runs when ctx ends, waited for below.
	stopped := make(chan error, 1)
	unhook := context.AfterFunc(ctx, func() {
		_, err := c.stop(lasting, p.ID, -1)
		stopped <- err
	})
	p, err = a.follow(lasting, c, p.ID, cfg.json)
	if !unhook() {
		err = errors.Join(err, gone(<-stopped))
	}
	if cfg.remove && p.State.Ended() {
		err = errors.Join(err, gone(c.remove(lasting, p.ID, -1)))
	}
	if cfg.json && p.ID != "" {
		err = errors.Join(err, a.printJSON(p))
	}
	if err != nil {
		return &exitError{exitNoProc, err}
	}
	return exitOf(p)
}

// gone forgives that a proc is not there any more.
func gone(err error) error {
	var api *apiError
	if errors.As(err, &api) && api.Status == 404 {
		return nil
	}
	return err
}

// follow shows the proc's output until it ends.
func (a *app) follow(ctx context.Context, c *client, id string, allToStderr bool) (proc.Proc, error) {
	stdout := a.stdout
	if allToStderr {
		stdout = a.stderr
	}
	err := c.logs(ctx, id, logQuery{follow: true, tail: -1}, printTo(stdout, a.stderr))
	if err != nil {
		return proc.Proc{}, err
	}
	return c.wait(ctx, id, "end")
}

// printTo writes each line where the app wrote it.
func printTo(stdout, stderr io.Writer) func(logLine) error {
	return func(l logLine) error {
		_, err := l.to(stdout, stderr).Write(append(l.bytes(), l.ending()...))
		return err
	}
}

// exitOf turns the proc's end into ours. The reason is told where the app
// itself had no say.
func exitOf(p proc.Proc) error {
	exit := &exitError{code: exitNoProc}
	switch {
	case p.State == proc.Done:
		return nil
	case p.ExitCode != nil && *p.ExitCode != 0:
		exit.code = *p.ExitCode
	}
	if p.Started == nil || p.OOMKilled || exit.code == exitNoProc {
		exit.err = fmt.Errorf("proc %s: %s", p.ID, orDash(p.Reason))
	}
	return exit
}
