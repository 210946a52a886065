package isolate

import (
	"fmt"
	"slices"
	"strings"
)

// An AppArmor is what the host has of AppArmor.
type AppArmor struct {
	Enabled  bool
	Profiles []string // loaded and enforced

	// Use is the profile of programs: one of Profiles, or Unconfined. Empty
	// where AppArmor is not enabled.
	Use string
}

// Unconfined is no profile, by AppArmor's name for it.
const Unconfined = "unconfined"

// usualProfiles are what programs get, the first of them that is loaded, unless
// the operator names another: one that was made for sandboxes, and Docker's.
var usualProfiles = []string{"gilliam", "docker-default"}

// Choose is a with the profile that the operator names, or with one of the usual
// profiles for an empty name. It is pure.
func (a AppArmor) Choose(name string) (AppArmor, error) {
	switch {
	case !a.Enabled && (name == "" || name == Unconfined):
		a.Use = ""
	case !a.Enabled:
		return a, fmt.Errorf("%w: AppArmor is not in the kernel or turned off, and %q is a profile of it", ErrUnsupported, name)
	case name == Unconfined || slices.Contains(a.Profiles, name):
		a.Use = name
	case name != "":
		return a, fmt.Errorf("%w: no AppArmor profile %q is loaded and enforced: load it with apparmor_parser -r FILE", ErrUnsupported, name)
	default:
		a.Use = Unconfined
		for _, usual := range slices.Backward(usualProfiles) {
			if slices.Contains(a.Profiles, usual) {
				a.Use = usual
			}
		}
	}
	return a, nil
}

// parseProfiles reads the kernel's list of profiles: those that it enforces.
func parseProfiles(list string) []string {
	var names []string
	for line := range strings.Lines(list) {
		if name, enforced := strings.CutSuffix(strings.TrimSpace(line), " (enforce)"); enforced {
			names = append(names, name)
		}
	}
	return names
}

// profileFact is what the kernel says of a program under a profile.
func profileFact(profile string) string {
	if profile == Unconfined {
		return Unconfined
	}
	return profile + " (enforce)"
}
