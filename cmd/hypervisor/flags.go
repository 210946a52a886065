package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// envKey annotates a flag with its environment twin.
const envKey = "env"

// emptyCounts annotates a flag whose twin means something when it is empty.
const emptyCounts = "empty-counts"

// twin gives the flag an environment variable that stands in for it, and says
// so in the help.
func twin(f *pflag.FlagSet, name, variable string) {
	flag := f.Lookup(name)
	flag.Usage += " [$" + variable + "]"
	if err := f.SetAnnotation(name, envKey, []string{variable}); err != nil {
		panic("bug: " + err.Error())
	}
}

// fromEnv sets each flag that was not given from its twin.
func (a *app) fromEnv(f *pflag.FlagSet) (err error) {
	f.VisitAll(func(flag *pflag.Flag) {
		names := flag.Annotations[envKey]
		if err != nil || flag.Changed || len(names) == 0 {
			return
		}
		v, given := a.env[names[0]]
		if !given || v == "" && flag.Annotations[emptyCounts] == nil {
			return
		}
		if bad := f.Set(flag.Name, v); bad != nil {
			err = usagef("environment variable %s: %w", names[0], bad)
		}
	})
	return err
}

// A value is a flag of type T. Its parse says, in the error, what is right.
type value[T any] struct {
	to    *T
	kind  string
	parse func(string) (T, error)
	text  string
}

func (v *value[T]) Set(s string) error {
	t, err := v.parse(s)
	if err != nil {
		return err
	}
	*v.to, v.text = t, told(t, s)
	return nil
}

// told is how a value that was given as s is written again: where it is text
// itself, such as a path that has become absolute, as that.
func told[T any](t T, s string) string {
	if text, ok := any(t).(string); ok && text != "" {
		return text
	}
	return s
}

func (v *value[T]) Type() string   { return v.kind }
func (v *value[T]) String() string { return v.text }

// add adds a flag of type T; def is its default as it would be written, and
// must be right.
func add[T any](f *pflag.FlagSet, to *T, name, def, kind, usage string, parse func(string) (T, error)) {
	v := &value[T]{to: to, kind: kind, parse: parse}
	if err := v.Set(def); err != nil {
		panic(fmt.Sprintf("bug: default of --%s: %v", name, err))
	}
	f.Var(v, name, usage)
}

// A listValue is a flag that may be repeated; commas separate too.
type listValue[T any] struct {
	to    *[]T
	kind  string
	parse func(string) (T, error)
	whole bool // a comma does not separate
	text  []string
}

func (v *listValue[T]) Set(s string) error {
	parts := []string{s}
	if !v.whole {
		parts = strings.Split(s, ",")
	}
	for _, part := range parts {
		t, err := v.parse(part)
		if err != nil {
			return err
		}
		*v.to, v.text = append(*v.to, t), append(v.text, told(t, part))
	}
	return nil
}

func (v *listValue[T]) Type() string   { return v.kind }
func (v *listValue[T]) String() string { return strings.Join(v.text, ",") }

// addList adds a repeatable flag, empty by default.
func addList[T any](f *pflag.FlagSet, to *[]T, name, kind, usage string, parse func(string) (T, error)) {
	f.Var(&listValue[T]{to: to, kind: kind, parse: parse}, name, usage)
}

// addWhole adds a repeatable flag whose values may hold commas.
func addWhole[T any](f *pflag.FlagSet, to *[]T, name, kind, usage string, parse func(string) (T, error)) {
	f.Var(&listValue[T]{to: to, kind: kind, parse: parse, whole: true}, name, usage)
}
