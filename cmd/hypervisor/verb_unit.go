package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gilliam/hypervisor/cmd/hypervisor/service"
)

// unitDir is where an operator's units are (systemd.unit(5)).
const unitDir = "/etc/systemd/system"

func (a *app) unitVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unit",
		Short: "Make the daemon a service of systemd",
		Long: `Make the daemon a service of systemd: hypervisor.service runs it, restarts it
when it ends or hangs, and leaves the apps alone meanwhile; hypervisor.socket
keeps the API's sockets open, so that a client waits for the daemon that comes
next.

Each verb takes the flags of serve, and their environment variables, and makes
units that serve with them.`,
	}
	cmd.AddCommand(a.unitPrintVerb("service", service.ServiceName, service.Unit.Service),
		a.unitPrintVerb("socket", service.SocketName, service.Unit.SocketUnit), a.unitInstallVerb())
	return cmd
}

// A unitConfig is what the verbs of unit may be told.
type unitConfig struct {
	serve  serveConfig
	binary string
}

func (c *unitConfig) flags(f *pflag.FlagSet) {
	add(f, &c.binary, "binary", "", "PATH", "program that the service runs (default this one)", parseMaybePath)
	c.serve.flags(f)
}

func (a *app) unitPrintVerb(verb, name string, text func(service.Unit) string) *cobra.Command {
	var cfg unitConfig
	cmd := &cobra.Command{
		Use:     verb,
		Short:   "Print " + name,
		Example: "  hypervisor unit " + verb + " --binary /usr/local/bin/hypervisor | sudo tee " + filepath.Join(unitDir, name),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := cfg.unit(cmd.Flags())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.stdout, text(u))
			return err
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) unitInstallVerb() *cobra.Command {
	var cfg unitConfig
	var dir string
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Write both units where systemd finds them",
		Long: `Write hypervisor.service and hypervisor.socket into the folder where systemd
finds them, and say what to do next. Units that were made here before are
replaced, others are not.`,
		Example: `  sudo install bin/hypervisor /usr/local/bin/
  sudo hypervisor unit install --max-procs 200
  sudo systemctl daemon-reload
  sudo systemctl enable --now hypervisor.socket hypervisor.service`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := cfg.unit(cmd.Flags())
			if err != nil {
				return err
			}
			return a.installUnits(dir, map[string]string{service.ServiceName: u.Service(), service.SocketName: u.SocketUnit()})
		},
	}
	add(cmd.Flags(), &dir, "dir", unitDir, "DIR", "folder of the units", parsePath)
	cfg.flags(cmd.Flags())
	return cmd
}

// unit is what the units say. It is the last that looks at the flags.
func (c *unitConfig) unit(f *pflag.FlagSet) (service.Unit, error) {
	args := serveArgs(f)
	if err := c.serve.complete(); err != nil {
		return service.Unit{}, err
	}
	if c.binary == "" {
		self, err := os.Executable()
		if err != nil {
			return service.Unit{}, err
		}
		c.binary = self
	}
	if st, err := os.Stat(c.binary); err != nil {
		return service.Unit{}, fmt.Errorf("%w: name the program with --binary", err)
	} else if !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
		return service.Unit{}, usagef("--binary: %s is not a program", c.binary)
	}
	group := socketGroup
	if _, err := user.LookupGroup(group); err != nil {
		group = "" // none on this host
	}
	return service.Unit{
		Binary: c.binary, Args: args, StateDir: c.serve.stateDir, Socket: c.serve.socket, Group: group,
		TCP: netip.AddrPortFrom(c.serve.listen, uint16(c.serve.port)), Stop: drainTime + closeTime(c.serve.grace) + 10*time.Second,
	}, nil
}

// serveArgs are the flags of serve that were given, in their order.
func serveArgs(f *pflag.FlagSet) []string {
	var known serveConfig
	var args []string
	serves := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	known.flags(serves)
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed && serves.Lookup(flag.Name) != nil {
			args = append(args, "--"+flag.Name+"="+flag.Value.String())
		}
	})
	return args
}

// installUnits writes the units and says what to do next.
func (a *app) installUnits(dir string, units map[string]string) error {
	names := []string{service.SocketName, service.ServiceName}
	for _, name := range names {
		path := filepath.Join(dir, name)
		was, err := os.ReadFile(path)
		if err == nil && !strings.HasPrefix(string(was), service.Mark) {
			return fmt.Errorf("%s was not made here: remove it first, or print the unit with hypervisor unit and compare", path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(units[name]), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, "wrote", path)
	}
	_, err := fmt.Fprintf(a.stdout, "now: systemctl daemon-reload && systemctl enable --now %s\n", strings.Join(names, " "))
	return err
}
