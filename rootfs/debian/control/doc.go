// Package control reads what Debian writes about packages: paragraphs of fields
// (deb822(5)), versions and how they compare (deb-version(7)), and relations
// between packages (deb-control(5), "Depends").
//
//	r := control.NewReader(text)
//	for p, err := r.Next(); err == nil; p, err = r.Next() {
//		clauses, err := control.ParseRelations(p.Get("Depends"))
//	}
//
// It is pure: no file, no clock. What it reads may be a stranger's. Values are
// parts of the text that was given and keep it in memory.
//
// It does not know source packages: relations with architectures in [] or build
// profiles in <> are errors.
package control
