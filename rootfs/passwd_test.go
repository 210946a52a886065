package rootfs

import (
	"strings"
	"testing"
)

func TestFindAccount(t *testing.T) {
	for _, c := range []struct {
		line string
		want account
		err  string
	}{
		{"gilliam:x:1000:1001:,,,:/app:/bin/sh", account{1000, 1001, "/app"}, ""},
		{"gilliam:x:65533:1:::", account{65533, 1, ""}, ""},
		{"gilliam:x:0:1000::/app:", account{}, "root's"},
		{"gilliam:x:1000:0::/app:", account{}, "root's"},
		{"gilliam:x:65534:1000::/app:", account{}, "above"},
		{"gilliam:x:4294967296:1000::/app:", account{}, "not a number"},
		{"gilliam:x:-1:1000::/app:", account{}, "not a number"},
		{"gilliam:x:+5:1000::/app:", account{}, "not a number"},
		{"gilliam:x:root:1000::/app:", account{}, "not a number"},
		{"gilliam:x:１:1000::/app:", account{}, "not a number"},
		{"gilliam:x::1000::/app:", account{}, "not a number"},
		{"gilliam:x:1000", account{}, "fields"},
	} {
		file := "root:x:0:0:root:/root:/bin/bash\nnotgilliam:x:5:5::/:\n" + c.line + "\ngilliam:x:77:77::/late:/bin/sh\n"
		got, ok, err := findAccount([]byte(file), "gilliam")
		if c.err == "" && (err != nil || !ok || got != c.want) {
			t.Errorf("%s: got %v, %v, %v, want %v", c.line, got, ok, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, want %q", c.line, err, c.err)
		}
	}
	if _, ok, err := findAccount([]byte("root:x:0:0::/:\n"), "gilliam"); ok || err != nil {
		t.Errorf("absent: got %v, %v", ok, err)
	}
}

func TestAddAccount(t *testing.T) {
	const root = "root:x:0:0:root:/root:/bin/bash\n"
	type text struct{ passwd, group, shadow, gshadow string }
	for _, c := range []struct {
		name      string
		old, want text
	}{
		{"as useradd does",
			text{root, "root:x:0:\n", "root:*:19000:0:99999:7:::\n", "root:*::\n"},
			text{root + "gilliam:x:1000:1000::/app:/bin/sh\n", "root:x:0:\ngilliam:x:1000:\n",
				"root:*:19000:0:99999:7:::\ngilliam:!::0:99999:7:::\n", "root:*::\ngilliam:!::\n"}},
		{"ids taken by a user and by a group",
			text{root + "a:x:1000:100::/:\n", "b:x:1001:\n", "", ""},
			text{root + "a:x:1000:100::/:\ngilliam:x:1002:1002::/app:/bin/sh\n", "b:x:1001:\ngilliam:x:1002:\n", "", ""}},
		{"group is there", text{root, "gilliam:x:50:\n", "", ""},
			text{root + "gilliam:x:1000:50::/app:/bin/sh\n", "gilliam:x:50:\n", "", ""}},
		{"last line without end", text{strings.TrimSuffix(root, "\n"), "", "", ""},
			text{root + "gilliam:x:1000:1000::/app:/bin/sh\n", "gilliam:x:1000:\n", "", ""}},
		{"is there already", text{root + "gilliam:x:7:8::/home:\n", "g:x:8:\n", "s", "t"}, text{root + "gilliam:x:7:8::/home:\n", "g:x:8:\n", "s", "t"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bytesOf := func(s string) []byte {
				if s == "" {
					return nil
				}
				return []byte(s)
			}
			a := accounts{bytesOf(c.old.passwd), bytesOf(c.old.group), bytesOf(c.old.shadow), bytesOf(c.old.gshadow)}
			for _, turn := range []string{"once", "twice"} {
				var err error
				if a, err = a.add("gilliam", "/app"); err != nil {
					t.Fatal(err)
				}
				got := text{string(a.passwd), string(a.group), string(a.shadow), string(a.gshadow)}
				if got != c.want {
					t.Errorf("%s:\ngot  %q\nwant %q", turn, got, c.want)
				}
			}
		})
	}
	if _, err := (accounts{passwd: []byte("gilliam:x:0:0::/:\n")}).add("gilliam", "/app"); err == nil {
		t.Error("a run user who is root was accepted")
	}
}
