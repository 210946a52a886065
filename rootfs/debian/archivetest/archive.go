package archivetest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// An Archive is one suite with one component, main, for amd64.
type Archive struct {
	Keyring string            // path of the public key
	Release map[string]string // fields of the Release file, to be changed before Serve

	// Answer, when it is set, may answer a request in place of the archive.
	Answer func(w http.ResponseWriter, r *http.Request, content []byte) bool

	// Signers sign InRelease; at first the key of Keyring.
	Signers []*openpgp.Entity

	tb     testing.TB
	suite  string
	server *httptest.Server

	mu       sync.Mutex
	files    map[string][]byte // by path below the archive
	index    strings.Builder
	Requests []string // paths that were asked for
}

// New makes an archive without packages.
func New(tb testing.TB, suite string) *Archive {
	tb.Helper()
	a := &Archive{tb: tb, suite: suite, files: map[string][]byte{}}
	key := Key(tb, time.Now().Add(-time.Hour), 0)
	a.Signers = []*openpgp.Entity{key}
	a.Keyring = WriteKey(tb, key)
	a.Release = map[string]string{
		"Suite": "stable", "Codename": suite, "Date": time.Now().Add(-time.Hour).UTC().Format(time.RFC1123), "Architectures": "all amd64",
		"Components": "main", "Acquire-By-Hash": "yes", "No-Support-for-Architecture-all": "Packages",
	}
	return a
}

// Key makes a key that was made at a time, and expires after a lifetime that is not
// zero.
func Key(tb testing.TB, made time.Time, lifetime time.Duration) *openpgp.Entity {
	tb.Helper()
	key, err := openpgp.NewEntity("Test", "", "test@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(lifetime.Seconds()),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// WriteKey writes the public halves of keys to a file.
func WriteKey(tb testing.TB, keys ...*openpgp.Entity) string {
	tb.Helper()
	var b bytes.Buffer
	for _, key := range keys {
		if err := key.Serialize(&b); err != nil {
			tb.Fatal(err)
		}
	}
	path := filepath.Join(tb.TempDir(), "keyring.gpg")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Add adds a package.
func (a *Archive) Add(p Package) {
	a.tb.Helper()
	a.AddFile(p, p.Deb(a.tb))
}

// AddFile adds a package whose file is what the test says.
func (a *Archive) AddFile(p Package, deb []byte) {
	name, _, _ := strings.Cut(strings.TrimPrefix(p.Control, "Package: "), "\n")
	path := "pool/" + name + ".deb"
	a.files[path] = deb
	fmt.Fprintf(&a.index, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", p.Control, path, len(deb), sha256.Sum256(deb))
}

// Put makes a file of the archive something else than the indexes say.
func (a *Archive) Put(path string, content []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files[path] = content
}

// File is what the archive has there.
func (a *Archive) File(path string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.files[path]
}

// Text is the Release file as it is to be signed.
func (a *Archive) Text() string {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write([]byte(a.index.String()))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		a.tb.Fatal(err)
	}
	dir := "dists/" + a.suite + "/main/binary-amd64/"
	hash := fmt.Sprintf("%x", sha256.Sum256(z.Bytes()))
	a.files[dir+"by-hash/SHA256/"+hash] = z.Bytes()
	a.files[dir+"Packages.gz"] = z.Bytes()
	var text strings.Builder
	for name, value := range a.Release {
		fmt.Fprintf(&text, "%s: %s\n", name, value)
	}
	fmt.Fprintf(&text, "SHA256:\n %x %d main/binary-amd64/Packages\n %s %d main/binary-amd64/Packages.gz\n",
		sha256.Sum256([]byte(a.index.String())), a.index.Len(), hash, z.Len())
	return text.String()
}

// Sign clear-signs a text.
func (a *Archive) Sign(text string) []byte {
	a.tb.Helper()
	var keys []*packet.PrivateKey
	for _, s := range a.Signers {
		keys = append(keys, s.PrivateKey)
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, keys, nil)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		a.tb.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// Serve signs the archive as it is, serves it until the test ends, and returns its
// URL, which is always the same.
func (a *Archive) Serve() string {
	a.tb.Helper()
	a.Put("dists/"+a.suite+"/InRelease", a.Sign(a.Text()))
	if a.server == nil {
		a.server = httptest.NewServer(http.HandlerFunc(a.serve))
		a.tb.Cleanup(a.server.Close)
	}
	return a.server.URL
}

func (a *Archive) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	a.mu.Lock()
	a.Requests = append(a.Requests, path)
	content, ok := a.files[path]
	a.mu.Unlock()
	if a.Answer != nil && a.Answer(w, r, content) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// Asked is how often a path was asked for.
func (a *Archive) Asked(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, p := range a.Requests {
		if strings.HasPrefix(p, path) {
			n++
		}
	}
	return n
}

// Paths are those of the archive's files that begin so.
func (a *Archive) Paths(prefix string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var paths []string
	for path := range a.files {
		if strings.HasPrefix(path, prefix) {
			paths = append(paths, path)
		}
	}
	return paths
}

// Armour writes the public halves of keys as text, each apart.
func Armour(tb testing.TB, keys ...*openpgp.Entity) string {
	tb.Helper()
	var b bytes.Buffer
	for _, key := range keys {
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err == nil {
			err = key.Serialize(w)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			tb.Fatal(err)
		}
		b.WriteByte('\n')
	}
	return WriteFile(tb, b.String())
}

// WriteFile writes a file and returns its path.
func WriteFile(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Text reads one.
func Text(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}
