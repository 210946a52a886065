// Package resolve chooses the packages of a system: what it asks for, and what
// that depends on.
//
//	u := resolve.NewUniverse("amd64")
//	for … { err := u.Add(pkg) } // the newest version of a name counts
//	chosen, err := resolve.Resolve(u, resolve.Request{Names: append(u.Base(), "python3")})
//
// It chooses as debootstrap and apt do where there is nothing to weigh: in the
// order of the request, of each clause the first alternative that can be had,
// unless another one is chosen already; a package of that name before one that
// provides it. It installs no recommendations, and does not go back on a choice:
// a request that conflicts with itself is an error that says with what.
//
// It is pure.
package resolve
