package oci

import (
	"errors"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Scheme is how references to images in a registry begin, among other images.
const Scheme = "oci://"

// Errors that a caller may branch on, with errors.Is.
var (
	// ErrInvalid is a reference or an image that is wrong in itself.
	ErrInvalid = errors.New("invalid")
	// ErrNotExist is an image that its registry does not have.
	ErrNotExist = errors.New("does not exist")
	// ErrUnreachable is a registry that does not answer as one.
	ErrUnreachable = errors.New("registry unreachable")
)

// A kindError gives a message of its own to one of the errors above.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string        { return e.text }
func (e *kindError) Is(target error) bool { return target == e.kind }

// maxReference bounds a reference. Of its parts, names have 255 bytes at most
// (distribution-spec), tags 128 and digests 71.
const maxReference = 512

// repositoryName is that of a repository (distribution-spec, “Pulling manifests”).
var repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// A Reference names an image in a registry: by a tag, which may name another image
// tomorrow, or by a digest, which never does.
type Reference struct {
	Registry   string // host or host:port
	Repository string
	Tag        string // "" when there is a digest
	Digest     string // "sha256:…", or ""
}

// ParseReference reads "oci://registry/name:tag@sha256:…". Without a tag and a
// digest it is the tag "latest"; with a digest the tag is of no account. The error
// is an [ErrInvalid] and does not repeat the reference.
func ParseReference(s string) (Reference, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	bad := &kindError{ErrInvalid, "must be like oci://registry.example.com/name:tag or oci://registry.example.com/name@sha256:…, " +
		"the registry named, the name in lower case, and no user or password"}
	host, _, found := strings.Cut(rest, "/")
	if !ok || !found || host == "" || len(s) > maxReference || strings.ContainsAny(host, "@?#") {
		return Reference{}, bad
	}
	registry, err := name.NewRegistry(host, name.StrictValidation)
	if err != nil {
		return Reference{}, bad
	}
	r := Reference{Registry: registry.RegistryStr()}
	if strings.Contains(rest, "@") {
		d, err := name.NewDigest(rest)
		if err != nil || !strings.HasPrefix(d.DigestStr(), "sha256:") || d.RegistryStr() != r.Registry {
			return Reference{}, bad
		}
		r.Repository, r.Digest = d.RepositoryStr(), d.DigestStr()
		return r, r.valid(bad)
	}
	t, err := name.NewTag(rest)
	if err != nil || t.RegistryStr() != r.Registry { // what is no host is a name to Docker
		return Reference{}, bad
	}
	r.Repository, r.Tag = t.RepositoryStr(), t.TagStr()
	return r, r.valid(bad)
}

func (r Reference) valid(bad error) error {
	if !repositoryName.MatchString(r.Repository) {
		return bad
	}
	return nil
}

// String is the reference in its one shape.
func (r Reference) String() string {
	if r.Digest != "" {
		return Scheme + r.Registry + "/" + r.Repository + "@" + r.Digest
	}
	return Scheme + r.Registry + "/" + r.Repository + ":" + r.Tag
}

// With is the same name, pinned to a digest.
func (r Reference) With(digest string) Reference {
	r.Tag, r.Digest = "", digest
	return r
}
