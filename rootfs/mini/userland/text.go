package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// each calls do with every file that is named, or the standard input where none is;
// what cannot be opened is told at the end.
func each(names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		return do("", os.Stdin)
	}
	var errs []error
	for _, name := range names {
		if name == "-" {
			errs = append(errs, do("", os.Stdin))
			continue
		}
		f, err := os.Open(name)
		if err == nil {
			err = errors.Join(do(name, f), f.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lines calls do with every line, without its end, until do says that it is enough.
func lines(r io.Reader, do func(line string) (more bool)) error {
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadString('\n')
		if line != "" && !do(strings.TrimSuffix(line, "\n")) {
			return nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// oldStyle makes -n 5 of -5, as head and tail have taken it for ever.
func oldStyle(args []string) []string {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0][1] >= '0' && args[0][1] <= '9' {
		return append([]string{"-n", args[0][1:]}, args[1:]...)
	}
	return args
}

func head(args []string) error {
	f := options("head")
	n, bytes := f.IntP("lines", "n", 10, "so many lines"), f.Int64P("bytes", "c", -1, "so many bytes")
	if err := f.Parse(oldStyle(args)); err != nil {
		return err
	}
	return each(f.Args(), func(_ string, r io.Reader) error {
		if *bytes >= 0 {
			_, err := io.CopyN(os.Stdout, r, *bytes)
			if err == io.EOF {
				err = nil
			}
			return err
		}
		left := *n
		if left <= 0 {
			return nil
		}
		return lines(r, func(line string) bool {
			fmt.Println(line)
			left--
			return left > 0
		})
	})
}

func tail(args []string) error {
	f := options("tail")
	n := f.StringP("lines", "n", "10", "so many lines, or with + from that one on")
	if err := f.Parse(oldStyle(args)); err != nil {
		return err
	}
	count, err := strconv.Atoi(strings.TrimPrefix(*n, "+"))
	if err != nil || count < 0 {
		return fmt.Errorf("%q is no number of lines", *n)
	}
	return each(f.Args(), func(_ string, r io.Reader) error {
		var last []string
		at := 0
		err := lines(r, func(line string) bool {
			at++
			if strings.HasPrefix(*n, "+") {
				if at >= count {
					fmt.Println(line)
				}
				return true
			}
			if last = append(last, line); len(last) > count {
				last = last[1:]
			}
			return true
		})
		for _, line := range last {
			fmt.Println(line)
		}
		return err
	})
}

func wc(args []string) error {
	f := options("wc")
	l, w, c := f.BoolP("lines", "l", false, "lines"), f.BoolP("words", "w", false, "words"), f.BoolP("bytes", "c", false, "bytes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if !*l && !*w && !*c {
		*l, *w, *c = true, true, true
	}
	return each(f.Args(), func(name string, r io.Reader) error {
		var ls, ws, cs int
		for b := bufio.NewReader(r); ; {
			line, err := b.ReadString('\n')
			cs += len(line)
			ws += len(strings.Fields(line))
			ls += strings.Count(line, "\n")
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		var shown []string
		for _, n := range []struct {
			on *bool
			n  int
		}{{l, ls}, {w, ws}, {c, cs}} {
			if *n.on {
				shown = append(shown, strconv.Itoa(n.n))
			}
		}
		if name != "" {
			shown = append(shown, name)
		}
		fmt.Println(strings.Join(shown, " "))
		return nil
	})
}

func sortLines(args []string) error {
	f := options("sort")
	number, reverse, once := f.BoolP("numeric-sort", "n", false, "by numbers"), f.BoolP("reverse", "r", false, "the last first"), f.BoolP("unique", "u", false, "each once")
	if err := f.Parse(args); err != nil {
		return err
	}
	var all []string
	err := each(f.Args(), func(_ string, r io.Reader) error {
		return lines(r, func(line string) bool {
			all = append(all, line)
			return true
		})
	})
	slices.SortStableFunc(all, func(a, b string) int {
		order := strings.Compare(a, b)
		if *number {
			if x, y := leading(a), leading(b); x < y {
				order = -1
			} else if x > y {
				order = 1
			}
		}
		if *reverse {
			return -order
		}
		return order
	})
	if *once {
		all = slices.Compact(all)
	}
	for _, line := range all {
		fmt.Println(line)
	}
	return err
}

// leading is the number that a line begins with, or 0.
func leading(s string) float64 {
	s = strings.TrimLeft(s, " \t")
	for end := len(s); end > 0; end-- {
		if n, err := strconv.ParseFloat(s[:end], 64); err == nil {
			return n
		}
	}
	return 0
}
