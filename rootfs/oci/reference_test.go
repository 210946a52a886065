package oci

import (
	"errors"
	"strings"
	"testing"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseReference(t *testing.T) {
	for in, want := range map[string]string{
		"oci://registry.example.com/blog":                        "oci://registry.example.com/blog:latest",
		"oci://registry.example.com/a/b/c:1.2":                   "oci://registry.example.com/a/b/c:1.2",
		"oci://127.0.0.1:5000/x:y":                               "oci://127.0.0.1:5000/x:y",
		"oci://localhost/x":                                      "oci://localhost/x:latest",
		"oci://[::1]:5000/x":                                     "oci://[::1]:5000/x:latest",
		"oci://docker.io/debian:12":                              "oci://index.docker.io/library/debian:12",
		"oci://registry.example.com/x@" + someDigest:             "oci://registry.example.com/x@" + someDigest,
		"oci://registry.example.com:443/x:tag@" + someDigest:     "oci://registry.example.com:443/x@" + someDigest,
		"oci://r.example.com/" + strings.Repeat("a", 255) + ":b": "oci://r.example.com/" + strings.Repeat("a", 255) + ":b",
	} {
		r, err := ParseReference(in)
		if err != nil || r.String() != want {
			t.Errorf("%s: got %v, %v, want %s", in, r, err, want)
			continue
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%s: not its own shape: %v, %v", r, again, err)
		}
	}
	for _, in := range []string{
		"", "oci://", "oci:///x", "oci://registry.example.com", "oci://registry.example.com/", "debian:12", "https://registry.example.com/x",
		"oci://debian", "oci://library/debian", "oci://user:hunter2@registry.example.com/x", "oci://registry.example.com/X",
		"oci://registry.example.com/x:", "oci://registry.example.com/x@", "oci://registry.example.com/x@sha256:abc",
		"oci://registry.example.com/x@md5:d41d8cd98f00b204e9800998ecf8427e", "oci://registry.example.com/../x", "oci://registry.example.com/x?y",
		"oci://registry.example.com/x#y", "oci://registry.example.com/x y", "oci://registry.example.com/x:" + strings.Repeat("t", 129),
		"oci://registry.example.com/" + strings.Repeat("a/", 300) + "x", "oci://registry.example.com/x\x00", "oci://registry.example.com/x:a:b",
		"oci://registry.example.com\\@evil/x", "oci://%31/x", "oci://registry.example.com/x@" + someDigest + "@" + someDigest,
	} {
		r, err := ParseReference(in)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %v, %v", in, r, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats it: %v", in, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("oci://registry.example.com:5000/a/b:c@" + someDigest)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%q is %+v, and that is %+v, %v", s, r, again, err)
		}
	})
}

func TestParseUser(t *testing.T) {
	for in, want := range map[string][2]uint32{"1": {1, 1}, "1000": {1000, 1000}, "65533": {65533, 65533}, "101:33": {101, 33}} {
		if uid, gid, ok := ParseUser(in); !ok || [2]uint32{uid, gid} != want {
			t.Errorf("%s: got %d:%d, %v", in, uid, gid, ok)
		}
	}
	for _, in := range []string{
		"", "0", "root", "nobody", "65534", "65536", "4294967296", "4294967297", "-1", "+1", "007", "1000:0", "1000:root", "0:0", "1000:", ":1000",
		"1000:1:1", "１", "1 ", " 1", "1e3", "0x10", "1_0",
	} {
		if uid, gid, ok := ParseUser(in); ok || uid != 0 || gid != 0 {
			t.Errorf("%q: got %d:%d, %v", in, uid, gid, ok)
		}
	}
}
