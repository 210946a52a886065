// Package archive gets packages of Debian from where they are published, and
// believes nothing that a trusted key has not signed, be it directly or by hash.
//
//	host, err := archive.ReadHost(os.DirFS("/"))           // what this machine's apt is told
//	c, err := archive.NewClient(cacheDir, host.Proxies, host.Logins)
//	defer c.Close()
//	rel, err := c.Release(ctx, mirror, suite, keys, archive.Freshness{Now: time.Now()})
//	indexes, err := rel.Indexes("amd64", []string{"main"})
//	text, err := c.Index(ctx, indexes[0], progress)        // of Packages, decompressed
//	file, err := c.Fetch(ctx, archive.File{URL: …, Size: …, SHA256: …}, progress)
//
// An InRelease file is verified with OpenPGP (RFC 9580); it names the hashes of
// the Packages indexes, and these name the hashes of the packages. An attacker in
// between, or a mirror, can hold back what is new as long as the signed
// Valid-Until allows, and nothing else. Files are kept in the cache by their
// hashes, and read again before they are used.
//
// It needs a keyring of the host or of the caller; none is built in. Unlike images,
// mirrors are chosen by the operator: no address is forbidden, and a proxy is used
// where apt or the environment name one.
//
// It reads sources.list(5) in both forms and of apt.conf(5) what matters here. It
// does not know mirror lists, CD-ROMs, or Release files with a signature apart.
package archive
