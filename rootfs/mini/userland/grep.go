package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

// grep prints the lines in which a regular expression is found. Expressions are Go's
// (RE2), which for what is plain are POSIX's extended ones.
func grep(args []string) error {
	f := options("grep")
	var (
		g     grepper
		_     = f.BoolP("extended-regexp", "E", false, "extended expressions, which these always are")
		fixed = f.BoolP("fixed-strings", "F", false, "a text, and no expression")
		fold  = f.BoolP("ignore-case", "i", false, "capitals or not")
		whole = f.BoolP("line-regexp", "x", false, "whole lines")
		expr  = f.StringP("regexp", "e", "", "the `EXPRESSION`")
	)
	f.BoolVarP(&g.invert, "invert-match", "v", false, "lines in which it is not found")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "only the exit status")
	f.BoolVarP(&g.count, "count", "c", false, "only their number")
	f.BoolVarP(&g.numbers, "line-number", "n", false, "with their numbers")
	f.BoolVarP(&g.only, "only-matching", "o", false, "only what is found")
	f.SetInterspersed(true)
	if err := f.Parse(args); err != nil {
		fmt.Fprintln(os.Stderr, "grep:", err)
		return exitError(2)
	}
	names := f.Args()
	if !f.Changed("regexp") {
		if len(names) == 0 {
			fmt.Fprintln(os.Stderr, "grep: for what?")
			return exitError(2)
		}
		*expr, names = names[0], names[1:]
	}
	if *fixed {
		*expr = regexp.QuoteMeta(*expr)
	}
	if *whole {
		*expr = "^(?:" + *expr + ")$"
	}
	if *fold {
		*expr = "(?i)" + *expr
	}
	var err error
	if g.re, err = regexp.Compile(*expr); err == nil {
		g.named = len(names) > 1
		err = each(names, g.search)
	}
	switch {
	case err != nil && !(g.quiet && g.found):
		fmt.Fprintln(os.Stderr, "grep:", err)
		return exitError(2)
	case !g.found:
		return exitError(1)
	}
	return nil
}

// A grepper prints lines in which re is found, or as its options say.
type grepper struct {
	re                                  *regexp.Regexp
	invert, quiet, count, numbers, only bool
	named                               bool // lines, by their files

	found bool
}

// search looks through one file.
func (g *grepper) search(name string, r io.Reader) error {
	if name != "" && g.named {
		name += ":"
	} else {
		name = ""
	}
	at, hits := 0, 0
	err := lines(r, func(line string) bool {
		at++
		if g.re.MatchString(line) == g.invert {
			return true
		}
		g.found = true
		hits++
		switch {
		case g.quiet:
			return false
		case g.count:
			return true
		}
		prefix := name
		if g.numbers {
			prefix += strconv.Itoa(at) + ":"
		}
		if g.only {
			for _, m := range g.re.FindAllString(line, -1) {
				fmt.Println(prefix + m)
			}
			return true
		}
		fmt.Println(prefix + line)
		return true
	})
	if g.count && !g.quiet {
		fmt.Println(name + strconv.Itoa(hits))
	}
	return err
}
