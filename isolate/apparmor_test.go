package isolate

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestChooseProfile(t *testing.T) {
	off := AppArmor{}
	bare := AppArmor{Enabled: true, Profiles: []string{"man"}}
	docker := AppArmor{Enabled: true, Profiles: []string{"docker-default", "man"}}
	both := AppArmor{Enabled: true, Profiles: []string{"docker-default", "gilliam", "man"}}
	for _, c := range []struct {
		host       AppArmor
		name, want string // "!" and part of the error
	}{
		{off, "", ""}, {off, Unconfined, ""}, {off, "gilliam", "!not in the kernel"},
		{bare, "", Unconfined}, {bare, "man", "man"}, {bare, "gilliam", "!no AppArmor profile \"gilliam\""},
		{docker, "", "docker-default"}, {docker, Unconfined, Unconfined},
		{both, "", "gilliam"}, {both, "docker-default", "docker-default"},
	} {
		got, err := c.host.Choose(c.name)
		if text, bad := strings.CutPrefix(c.want, "!"); bad {
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), text) {
				t.Errorf("%+v of %v: %v, want %s", c.name, c.host.Profiles, err, text)
			}
		} else if err != nil || got.Use != c.want {
			t.Errorf("%q of %v: %q %v, want %q", c.name, c.host.Profiles, got.Use, err, c.want)
		}
	}
}

func TestParseProfiles(t *testing.T) {
	got := parseProfiles("docker-default (enforce)\n/usr/bin/man (complain)\nlibreoffice//gpg (enforce)\nodd name (enforce)\nx (unconfined)\n")
	if want := []string{"docker-default", "libreoffice//gpg", "odd name"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
