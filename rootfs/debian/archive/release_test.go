package archive_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/rootfs/debian/archivetest"
)

func client(t *testing.T) *archive.Client {
	t.Helper()
	c, err := archive.NewClient(t.TempDir(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	archive.WithoutPauses(c)
	return c
}

func ring(t *testing.T, paths ...string) archive.Keyring {
	t.Helper()
	r, err := archive.ReadKeyring(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func now() archive.Freshness { return archive.Freshness{Now: time.Now()} }

func TestRelease(t *testing.T) {
	a := archivetest.New(t, "tiny")
	a.Add(archivetest.Package{Control: "Package: a\nVersion: 1\nArchitecture: all\n"})
	c := client(t)
	rel, err := c.Release(t.Context(), a.Serve(), "tiny", ring(t, a.Keyring), now())
	if err != nil {
		t.Fatal(err)
	}
	indexes, err := rel.Indexes("amd64", []string{"main"})
	if err != nil || len(indexes) != 1 {
		t.Fatalf("%v %v", indexes, err)
	}
	text, err := c.Index(t.Context(), indexes[0], nil)
	if err != nil || !strings.HasPrefix(text, "Package: a\n") {
		t.Errorf("%q %v", text, err)
	}
	if a.Asked("dists/tiny/main/binary-amd64/by-hash/SHA256/") != 1 {
		t.Errorf("asked for %q", a.Requests)
	}
	if _, err := rel.Indexes("arm64", nil); err == nil || !strings.Contains(err.Error(), "for arm64: it has main for all, amd64") {
		t.Errorf("an architecture that it has not: %v", err)
	}
	if again, err := c.Index(t.Context(), indexes[0], nil); err != nil || again != text || a.Asked("dists/tiny/main/") != 1 {
		t.Errorf("the second time: %v, asked %d times", err, a.Asked("dists/tiny/main/"))
	}
}

// A mirror that has been got at, or somebody on the way, is found out.
func TestReleaseRefused(t *testing.T) {
	hour := time.Hour
	for name, c := range map[string]struct {
		change func(t *testing.T, a *archivetest.Archive)
		text   func(string) string // of InRelease, once it is signed
		suite  string
		want   error
		says   string
	}{
		"another key": {change: func(t *testing.T, a *archivetest.Archive) {
			a.Signers = []*openpgp.Entity{archivetest.Key(t, time.Now().Add(-hour), 0)}
		}, want: archive.ErrUntrusted},
		"a key that has expired": {change: func(t *testing.T, a *archivetest.Archive) {
			key := archivetest.Key(t, time.Now().Add(-2*hour), hour)
			a.Signers, a.Keyring = []*openpgp.Entity{key}, archivetest.WriteKey(t, key)
		}, want: archive.ErrUntrusted, says: "expired"},
		"no signature":        {text: func(s string) string { return "Codename: tiny\n" }, want: archive.ErrUntrusted, says: "not clear-signed"},
		"a changed text":      {text: func(s string) string { return strings.Replace(s, "Suite: stable", "Suite: stabel", 1) }, want: archive.ErrUntrusted},
		"a text before":       {text: func(s string) string { return "Codename: x\n" + s }, want: archive.ErrUntrusted},
		"a text behind":       {text: func(s string) string { return s + "Codename: x\n" }, want: archive.ErrUntrusted},
		"a second message":    {text: func(s string) string { return s + s }, want: archive.ErrUntrusted},
		"a signature cut off": {text: func(s string) string { return s[:len(s)-80] }, want: archive.ErrUntrusted},
		"too old": {change: func(t *testing.T, a *archivetest.Archive) {
			a.Release["Valid-Until"] = time.Now().Add(-hour).UTC().Format(time.RFC1123)
		}, want: archive.ErrExpired, says: "--allow-expired"},
		"of the future": {change: func(t *testing.T, a *archivetest.Archive) {
			a.Release["Date"] = time.Now().Add(48 * hour).UTC().Format(time.RFC1123)
		}, want: archive.ErrExpired, says: "clock"},
		"another suite":           {suite: "other", want: archive.ErrUntrusted, says: "it is of tiny (stable), not of other"},
		"a time that is none":     {change: func(t *testing.T, a *archivetest.Archive) { a.Release["Date"] = "yesterday" }, says: "Date"},
		"a limit that is no time": {change: func(t *testing.T, a *archivetest.Archive) { a.Release["Valid-Until"] = "never" }, says: "Valid-Until"},
		"another paragraph":       {change: func(t *testing.T, a *archivetest.Archive) { a.Release["Label"] = "x\n\nCodename: tiny" }, says: "InRelease: "},
	} {
		t.Run(name, func(t *testing.T) {
			a := archivetest.New(t, "tiny")
			if c.change != nil {
				c.change(t, a)
			}
			url, suite := a.Serve(), "tiny"
			signed := a.File("dists/tiny/InRelease")
			if c.text != nil {
				signed = []byte(c.text(string(signed)))
			}
			if c.suite != "" {
				suite = c.suite
			}
			a.Put("dists/"+suite+"/InRelease", signed)
			_, err := client(t).Release(t.Context(), url, suite, ring(t, a.Keyring), now())
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v %q", err, c.want, c.says)
			}
		})
	}
}

// Who signs with a hash that is not one of ours is not believed: the library makes no such
// signature, so that the test makes it by hand.
func TestReleaseSignedWithAnotherHash(t *testing.T) {
	for hash, want := range map[crypto.Hash]error{crypto.SHA224: archive.ErrUntrusted, crypto.SHA256: nil} {
		a := archivetest.New(t, "tiny")
		key, text := a.Signers[0].PrivateKey, a.Text()
		sig := &packet.Signature{
			Version: key.Version, SigType: packet.SigTypeText, PubKeyAlgo: key.PubKeyAlgo, Hash: hash, CreationTime: time.Now(), IssuerKeyId: &key.KeyId,
		}
		h := hash.New()
		h.Write([]byte(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n")))
		var b bytes.Buffer
		w, err := armor.Encode(&b, openpgp.SignatureType, nil)
		if err == nil {
			err = sig.Sign(h, key, nil)
		}
		if err == nil {
			err = sig.Serialize(w)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(hash.String(), "-", "")
		signed := "-----BEGIN PGP SIGNED MESSAGE-----\nHash: " + name + "\n\n" + text + b.String() + "\n"
		if _, err := archive.ParseRelease([]byte(signed), ring(t, a.Keyring), now()); !errors.Is(err, want) {
			t.Errorf("%v: %v", hash, err)
		}
	}
}

// One good signature of several is enough: archives change their keys so.
func TestReleaseSignedTwice(t *testing.T) {
	a := archivetest.New(t, "tiny")
	expired := archivetest.Key(t, time.Now().Add(-2*time.Hour), time.Hour)
	stranger := archivetest.Key(t, time.Now().Add(-time.Hour), 0)
	a.Signers = []*openpgp.Entity{stranger, expired, a.Signers[0]}
	if _, err := client(t).Release(t.Context(), a.Serve(), "tiny", ring(t, a.Keyring, archivetest.WriteKey(t, expired)), now()); err != nil {
		t.Error(err)
	}
}

// A snapshot is taken when one asks for it.
func TestReleaseOfThePast(t *testing.T) {
	a := archivetest.New(t, "tiny")
	a.Release["Valid-Until"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC1123)
	fresh := archive.Freshness{Now: time.Now(), Expired: true}
	if _, err := client(t).Release(t.Context(), a.Serve(), "tiny", ring(t, a.Keyring), fresh); err != nil {
		t.Error(err)
	}
}

// What an index holds is held against both of its hashes.
func TestIndexRefused(t *testing.T) {
	for name, spoil := range map[string]func(*archivetest.Archive, string){
		"another file": func(a *archivetest.Archive, path string) { a.Put(path, []byte("Package: evil\n")) },
		"a longer one": func(a *archivetest.Archive, path string) { a.Put(path, append(a.File(path), 'x')) },
		"none":         func(a *archivetest.Archive, path string) { a.Put(path, nil) },
	} {
		a := archivetest.New(t, "tiny")
		a.Add(archivetest.Package{Control: "Package: a\nVersion: 1\nArchitecture: all\n"})
		c, url := client(t), a.Serve()
		rel, err := c.Release(t.Context(), url, "tiny", ring(t, a.Keyring), now())
		if err != nil {
			t.Fatal(err)
		}
		indexes, err := rel.Indexes("amd64", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range a.Paths("dists/tiny/main/") {
			spoil(a, path)
		}
		if text, err := c.Index(t.Context(), indexes[0], nil); err == nil {
			t.Errorf("%s: taken as %q", name, text)
		}
	}
}

func TestReadKeyring(t *testing.T) {
	a := archivetest.New(t, "tiny")
	url := a.Serve()
	armoured := archivetest.Armour(t, a.Signers[0], archivetest.Key(t, time.Now(), 0))
	if _, err := client(t).Release(t.Context(), url, "tiny", ring(t, armoured), now()); err != nil {
		t.Errorf("armoured: %v", err)
	}
	inline := " \n" + strings.ReplaceAll(archivetest.Text(t, armoured), "\n\n", "\n.\n")
	ring, err := archive.SignedBy("/", strings.ReplaceAll(inline, "\n", "\n "))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t).Release(context.Background(), url, "tiny", ring, now()); err != nil {
		t.Errorf("inline: %v", err)
	}
	for name, text := range map[string]string{"keybox": "\x00\x00\x00\x20\x01\x01\x00\x02KBXf\x00\x00", "rubbish": "hello", "empty armour": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"} {
		if _, err := archive.ReadKeyring(archivetest.WriteFile(t, text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := archive.HostKeyring(t.TempDir()); !errors.Is(err, archive.ErrNoKeyring) {
		t.Errorf("no keyring: %v", err)
	}
	if _, err := archive.SignedBy("/", "0123456789ABCDEF"); err == nil {
		t.Error("a fingerprint was taken for a file")
	}
}

// A server that is down for a moment is asked again, one that says no is not.
func TestTriesAgain(t *testing.T) {
	for status, want := range map[int]int{http.StatusServiceUnavailable: 3, http.StatusNotFound: 1, http.StatusForbidden: 1} {
		a := archivetest.New(t, "tiny")
		n := 0
		a.Answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			n++
			if n < 3 {
				w.WriteHeader(status)
			}
			return n < 3
		}
		_, err := client(t).Release(t.Context(), a.Serve(), "tiny", ring(t, a.Keyring), now())
		if n != want || (err == nil) != (want == 3) {
			t.Errorf("%d: asked %d times: %v", status, n, err)
		}
	}
}

func FuzzRelease(f *testing.F) {
	a := archivetest.New(f, "tiny")
	text := a.Sign(a.Text())
	ring, err := archive.ReadKeyring(a.Keyring)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		signed := a.Text()
		rel, err := archive.ParseRelease(b, ring, now())
		if err == nil && (rel.Codename != "tiny" || !strings.Contains(strings.ReplaceAll(string(b), "\r\n", "\n"), "Codename: tiny") || len(b) < len(signed)/2) {
			t.Errorf("%q was believed", b)
		}
	})
}
