// Package debian builds templates out of the packages of a Debian archive, on any
// Linux host and with nothing of the host's but a keyring: no debootstrap, no dpkg.
//
//	work, err := debian.NewWork(stateDir, leases)
//	defer work.Close()
//	b := debian.Builder{Work: work, Engine: engine, Client: client, Sources: sources, Arch: "amd64"}
//	sum, err := b.Build(ctx, tree, []string{"python3"})     // into an empty folder
//	sum, err = b.Install(ctx, tree, []string{"procps"})     // into a copy of a template
//
// What is fetched is verified by package archive, chosen by package resolve and
// unpacked by package deb, several at once. Then the packages' own scripts run, and
// dpkg --configure with them, in sandboxes whose root is the tree: with the few
// capabilities that they need in a user namespace of their own, no network, and
// nothing of the host. No daemon starts: policy-rc.d forbids it, and what starts all
// the same ends with its sandbox.
//
// The same packages of the same mirror give the same tree: what scripts log and cache is removed, and
// no file is younger than the archive's own date.
//
// It needs root and what package isolate needs. It keeps no secret of a mirror's in
// the tree. What it does not do: upgrade or remove packages, install what is only
// recommended, or look at what the packages hold: Debian vouches for them.
package debian
