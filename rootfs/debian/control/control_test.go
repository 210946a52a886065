package control

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestParagraphs(t *testing.T) {
	r := NewReader("\n# about a\nPackage: a\nDescription: short\n long\n .\n# in between\n more\nDepends:\n b,\n c\n \t\n\nPACKAGE:  b  \r\nX: \r\n\n\n")
	want := []Paragraph{
		{{"Package", "a"}, {"Description", "short\n long\n .\n more"}, {"Depends", "\n b,\n c"}},
		{{"PACKAGE", "b"}, {"X", ""}},
	}
	for _, w := range want {
		if p, err := r.Next(); err != nil || !reflect.DeepEqual(p, w) {
			t.Errorf("got %q %v, want %q", p, err, w)
		}
	}
	if p, err := r.Next(); err != io.EOF {
		t.Errorf("got %q %v at the end", p, err)
	}
	if got := want[0].Lines("depends"); !reflect.DeepEqual(got, []string{"b,", "c"}) {
		t.Errorf("lines %q", got)
	}
	if got := want[1].Get("package"); got != "b" {
		t.Errorf("got %q", got)
	}
}

func TestParagraphsRefused(t *testing.T) {
	for text, want := range map[string]string{
		" x":              "line 1: a line that continues",
		"a: b\nc":         "line 2: no field",
		"a: 1\nb: 2\nA: ": "line 3: field A twice",
		"-a: b":           "line 1: no field",
		": b":             "line 1: no field",
		"a b: c":          "line 1: no field",
	} {
		if p, err := NewReader(text).Next(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %q %v", text, p, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add("Package: a\nDepends: b (>= 1:2-3) | c:any,\n d\n\n")
	f.Add("a: b\n#c\n d\r\n\t\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(text)
		for {
			p, err := r.Next()
			if err != nil {
				break
			}
			if len(p) == 0 {
				t.Fatal("a paragraph without a field")
			}
			for _, field := range p {
				clauses, err := ParseRelations(field.Value)
				if err != nil {
					continue
				}
				var parts []string
				for _, c := range clauses {
					parts = append(parts, c.String())
				}
				again, err := ParseRelations(strings.Join(parts, ", "))
				if err != nil || !reflect.DeepEqual(clauses, again) {
					t.Fatalf("%q is written as %q, and that is read as %q %v", field.Value, parts, again, err)
				}
			}
		}
	})
}

func TestVersions(t *testing.T) {
	// In order; each is also equal to itself.
	sorted := []string{
		"0~~", "0~~a", "0~", "0", "0a", "0+", "1~rc1-1", "1-0~deb12u1", "1-0", "1-1", "1-1+b1", "1-1.1", "1-2", "1-10", "1.0-1", "1.0.1",
		"1.9", "1.10~beta1~svn1245", "1.10~beta1", "1.10", "1.10a", "1.10+dfsg", "2.7.2-linux-1", "2.7.3", "1:0.1", "1:1.2.11.dfsg-4.1+deb12u1", "2:0",
	}
	for i, a := range sorted {
		for j, b := range sorted {
			v, err := ParseVersion(a)
			if err != nil {
				t.Fatal(err)
			}
			w, err := ParseVersion(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := sign(v.Compare(w)); got != sign(i-j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	for _, pair := range [][2]string{{"1.0", "1.00"}, {"0:1", "1"}, {"1-0", "1"}, {"1.a0", "1.a"}, {"1-0", "1-00"}} {
		if ok, err := Satisfies(pair[0], "=", pair[1]); !ok || err != nil {
			t.Errorf("%q: %v %v", pair, ok, err)
		}
	}
	for _, bad := range []string{"", "-1", "1-", "a:1", "-1:1", "1:", "1 2", "1_2", "99999999999:1", "1/../2", "ü", "1-a:b"} {
		if v, err := ParseVersion(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, v)
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func FuzzVersion(f *testing.F) {
	f.Add("1:1.0~rc1-1", "1.0-1+b1")
	f.Add("0", "00~")
	f.Fuzz(func(t *testing.T, a, b string) {
		v, err := ParseVersion(a)
		w, err2 := ParseVersion(b)
		if err != nil || err2 != nil {
			return
		}
		if v.Compare(v) != 0 || sign(v.Compare(w)) != -sign(w.Compare(v)) {
			t.Errorf("%q and %q: %d and %d", a, b, v.Compare(w), w.Compare(v))
		}
	})
}

func TestRelations(t *testing.T) {
	got, err := ParseRelations("libc6 (>= 2.36), python3:any (>>3), debconf(>= 0.5)|debconf-2.0 ,\n awk, x (<2), ")
	want := []Clause{
		{{Name: "libc6", Op: ">=", Version: "2.36"}}, {{Name: "python3", Arch: "any", Op: ">>", Version: "3"}},
		{{Name: "debconf", Op: ">=", Version: "0.5"}, {Name: "debconf-2.0"}}, {{Name: "awk"}}, {{Name: "x", Op: "<=", Version: "2"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q %v", got, err)
	}
	for _, bad := range []string{"a b", "A", "a (1)", "a (>= )", "a (>= 1", "a (>= 1) x", "a [amd64]", "a <!x>", "a || b", "../a", "a:", "a (>=< 1)", "|"} {
		if got, err := ParseRelations(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
}
