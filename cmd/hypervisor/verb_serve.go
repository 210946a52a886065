package main

import "github.com/spf13/cobra"

func (a *app) serveVerb() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon, in the foreground",
		Long: `Run the daemon in the foreground until SIGTERM or Ctrl-C. The apps go on without
it, and the next start takes them over, be it of a newer version: with
--stop-on-exit they are stopped instead.

Root and the group gilliam use the API through its unix socket. Over TCP every
call but /healthz, /readyz and /metrics needs the token that the first start
writes into STATE-DIR/token. Each flag can also be given by the environment
variable named beside it; a flag wins.`,
		Example: `  # the original's defaults: API on 127.0.0.1:9000, apps from port 10000
  sudo hypervisor serve

  # a second one beside it
  sudo hypervisor serve --state-dir /srv/second --port 9001 --base-port 11000

  # images from a folder of this host and from a server on the local network
  sudo hypervisor serve --image-dir /srv/images --allow-net 10.1.0.0/16

  # over TCP, with the token
  curl -H "Authorization: Bearer $(sudo cat /var/lib/gilliam/token)" http://127.0.0.1:9000/v1/procs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.complete(); err != nil {
				return err
			}
			return a.serve(cmd.Context(), &cfg, func() {})
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}
