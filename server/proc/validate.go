package proc

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/oci"
	"github.com/gilliam/hypervisor/server/proc/outbox"
)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Bounds of a request.
const (
	maxCallback = 4096
	maxHostname = 63        // of app-name, a host name's label
	maxArg      = 128 << 10 // of one argument or variable: MAX_ARG_STRLEN, execve(2)
	maxEnv      = 1 << 20   // of all arguments and variables together
)

// check says what is wrong with the request in itself, as a [FieldError].
func (r Request) check() error {
	if err := r.checkNames(); err != nil {
		return err
	}
	if err := r.checkCommand(); err != nil {
		return err
	}
	if err := r.checkConfig(); err != nil {
		return err
	}
	if err := r.checkCallback(); err != nil {
		return err
	}
	if r.Template != "" && rootfs.IsContainer(r.Image) {
		return &FieldError{"template", "must be left out with an image of a registry, which is the whole root"}
	}
	if r.Network != "" && r.Network != isolate.NetworkHost && r.Network != isolate.NetworkNone {
		return &FieldError{"network", `must be "host" or "none"`}
	}
	if r.Supervision.Health != nil && len(r.Supervision.Health.Exec) == 0 && r.Network == isolate.NetworkNone {
		return &FieldError{"health", `http and tcp need network "host"; use exec`}
	}
	if err := r.Supervision.check(); err != nil {
		return err
	}
	if err := fieldError(r.Limits.Check()); err != nil {
		return err
	}
	return r.checkMounts()
}

func (r Request) checkNames() error {
	const want = "must begin with a letter or digit and hold only letters, digits, . _ and -"
	switch {
	case r.App == "":
		return &FieldError{"app", "must be given"}
	case !validName.MatchString(r.App):
		return &FieldError{"app", want}
	case r.Name == "":
		return &FieldError{"name", "must be given"}
	case !validName.MatchString(r.Name):
		return &FieldError{"name", want}
	case len(hostname(r.App, r.Name)) > maxHostname:
		return &FieldError{"name", "app and name together must be at most 62 characters: they are the host name"}
	}
	return nil
}

func (r Request) checkCommand() error {
	if r.Command.IsZero() {
		if rootfs.IsContainer(r.Image) { // it may have one of its own
			return nil
		}
		return &FieldError{"command", "must be given: a string for the shell, or a list to execute"}
	}
	args := r.Command.Args()
	if args[0] == "" {
		return &FieldError{"command", "must begin with a program"}
	}
	total := 0
	for _, a := range args {
		if strings.ContainsRune(a, 0) {
			return &FieldError{"command", "must not hold a NUL character"}
		}
		if len(a) >= maxArg {
			return &FieldError{"command", "an argument must be shorter than 128 KiB"}
		}
		total += len(a) + 1
	}
	if total > maxEnv {
		return &FieldError{"command", "must be at most 1 MiB"}
	}
	return nil
}

func (r Request) checkConfig() error {
	total := 0
	for k, v := range r.Config {
		field := "config." + k
		switch {
		case k == "":
			return &FieldError{"config", "a variable's name must not be empty"}
		case strings.ContainsAny(k, "=\x00"):
			return &FieldError{"config", "a variable's name must not hold = or a NUL character"}
		case strings.ContainsRune(v, 0):
			return &FieldError{field, "must not hold a NUL character"}
		case len(k)+len(v)+2 > maxArg:
			return &FieldError{field, "name and value must be shorter than 128 KiB"}
		}
		total += len(k) + len(v) + 2
	}
	if total > maxEnv {
		return &FieldError{"config", "must be at most 1 MiB"}
	}
	return nil
}

func (r Request) checkCallback() error {
	if r.Callback == "" {
		if r.CallbackSecret != "" {
			return &FieldError{"callback_secret", "must come with a callback that it signs"}
		}
		return nil
	}
	if len(r.Callback) > maxCallback {
		return &FieldError{"callback", "must be at most 4096 bytes"}
	}
	if r.CallbackSecret != "" {
		if _, err := outbox.ParseSecret(string(r.CallbackSecret)); err != nil {
			return &FieldError{"callback_secret", err.Error()}
		}
	}
	u, err := url.Parse(r.Callback)
	switch {
	case err != nil:
		return &FieldError{"callback", "must be a URL"}
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return &FieldError{"callback", "must be an http or https URL with a host"}
	case u.User != nil:
		return &FieldError{"callback", "must not hold a user name or password"}
	}
	return nil
}

// hostname is what a proc's machine is called, as the original did.
func hostname(app, name string) string { return app + "-" + name }

// rootUser asks for root of the proc's own user namespace.
const rootUser = "root"

// allowed says what of the request the policy does not allow, as a [FieldError].
func (r Request) allowed(policy isolate.Policy) error {
	spec := isolate.Spec{
		User:         isolate.User{UID: 1, GID: 1},
		Capabilities: r.Capabilities,
		Seccomp:      r.Seccomp,
		Limits:       r.Limits,
	}
	switch r.User {
	case "":
	case rootUser:
		spec.User = isolate.User{}
	default:
		if !rootfs.IsContainer(r.Image) {
			return &FieldError{"user", `must be "root" or left out: apps run as the user of their template`}
		}
		if _, _, ok := oci.ParseUser(r.User); !ok {
			return &FieldError{"user", `must be "root", "UID" or "UID:GID" of 1 to 65533, or left out: names are not looked up in an image`}
		}
	}
	for _, name := range r.Capabilities {
		if _, err := isolate.ParseCapability(name); err != nil {
			return &FieldError{"capabilities", err.Error()}
		}
	}
	return fieldError(policy.Check(spec))
}

// fieldError is an error about a field of a spec as one about the request's field
// that it comes from.
func fieldError(err error) error {
	var bad *isolate.SpecError
	if errors.As(err, &bad) {
		return &FieldError{snake(bad.Field), bad.Detail}
	}
	return err
}

// snake is the JSON name of a Go field or a path of such: limits.io.read_bps for
// Limits.IO.ReadBPS.
func snake(name string) string {
	isUpper := func(i int) bool { return i >= 0 && i < len(name) && 'A' <= name[i] && name[i] <= 'Z' }
	isLower := func(i int) bool { return i >= 0 && i < len(name) && 'a' <= name[i] && name[i] <= 'z' }
	var b strings.Builder
	for i := range len(name) {
		if isUpper(i) && (isLower(i-1) || isUpper(i-1) && isLower(i+1)) {
			b.WriteByte('_')
		}
		b.WriteByte(name[i])
	}
	return strings.ToLower(b.String())
}
