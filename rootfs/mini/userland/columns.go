package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func uniq(args []string) error {
	f := options("uniq")
	count := f.BoolP("count", "c", false, "with how often")
	if err := f.Parse(args); err != nil {
		return err
	}
	return each(f.Args(), func(_ string, r io.Reader) error {
		last, n := "", 0
		show := func() {
			switch {
			case n > 0 && *count:
				fmt.Printf("%7d %s\n", n, last)
			case n > 0:
				fmt.Println(last)
			}
		}
		err := lines(r, func(line string) bool {
			if n > 0 && line == last {
				n++
				return true
			}
			show()
			last, n = line, 1
			return true
		})
		show()
		return err
	})
}

// cut prints fields or characters of each line: -f 1,3-5.
func cut(args []string) error {
	f := options("cut")
	fields, chars, sep := f.StringP("fields", "f", "", "`LIST` of fields"), f.StringP("characters", "c", "", "`LIST` of bytes"), f.StringP("delimiter", "d", "\t", "what is between fields")
	if err := f.Parse(args); err != nil {
		return err
	}
	if (*fields == "") == (*chars == "") {
		return errors.New("takes either -f or -c")
	}
	picks, err := parseRanges(*fields + *chars)
	if err != nil {
		return err
	}
	return each(f.Args(), func(_ string, r io.Reader) error {
		return lines(r, func(line string) bool {
			parts, between := strings.Split(line, *sep), *sep
			if *chars != "" {
				parts, between = strings.Split(line, ""), ""
			} else if len(parts) == 1 {
				fmt.Println(line)
				return true
			}
			var kept []string
			for n, part := range parts {
				if picks(n + 1) {
					kept = append(kept, part)
				}
			}
			fmt.Println(strings.Join(kept, between))
			return true
		})
	})
}

// parseRanges reads 1,3-5,7-.
func parseRanges(list string) (func(int) bool, error) {
	type span struct{ low, high int }
	var spans []span
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		s := span{1, 1 << 30}
		var err error
		if from != "" {
			s.low, err = strconv.Atoi(from)
		}
		if to != "" && err == nil {
			s.high, err = strconv.Atoi(to)
		}
		if !ranged {
			s.high = s.low
		}
		if err != nil || s.low < 1 || part == "" || part == "-" {
			return nil, fmt.Errorf("%q is no list of numbers", list)
		}
		spans = append(spans, s)
	}
	return func(n int) bool {
		for _, s := range spans {
			if n >= s.low && n <= s.high {
				return true
			}
		}
		return false
	}, nil
}

// tr replaces or, with -d, removes bytes: ranges such as a-z, and \n, \t, \r, \0.
func tr(args []string) error {
	f := options("tr")
	remove := f.BoolP("delete", "d", false, "remove them")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 2 && !(*remove && f.NArg() == 1) {
		return errors.New("takes SET1 SET2, or -d SET1")
	}
	from, to := byteSet(f.Arg(0)), byteSet(f.Arg(1))
	if !*remove && len(to) == 0 {
		return errors.New("SET2 is empty")
	}
	var table [256]int
	for n := range table {
		table[n] = n
	}
	for n, c := range from {
		if *remove {
			table[c] = -1
		} else {
			table[c] = int(to[min(n, len(to)-1)])
		}
	}
	in, out := make([]byte, 32<<10), make([]byte, 0, 32<<10)
	for {
		n, err := os.Stdin.Read(in)
		out = out[:0]
		for _, c := range in[:n] {
			if table[c] >= 0 {
				out = append(out, byte(table[c]))
			}
		}
		if _, err := os.Stdout.Write(out); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func byteSet(s string) []byte {
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00", `\\`, `\`,
		"[:lower:]", "a-z", "[:upper:]", "A-Z", "[:digit:]", "0-9").Replace(s)
	var set []byte
	for n := 0; n < len(s); n++ {
		if n+2 < len(s) && s[n+1] == '-' && s[n] <= s[n+2] {
			for c := int(s[n]); c <= int(s[n+2]); c++ {
				set = append(set, byte(c))
			}
			n += 2
			continue
		}
		set = append(set, s[n])
	}
	return set
}

func tee(args []string) error {
	f := options("tee")
	more := f.BoolP("append", "a", false, "behind what is there")
	if err := f.Parse(args); err != nil {
		return err
	}
	outs := []io.Writer{os.Stdout}
	var errs []error
	for _, name := range f.Args() {
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if *more {
			flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		file, err := os.OpenFile(name, flags, 0o666)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer file.Close()
		outs = append(outs, file)
	}
	_, err := io.Copy(io.MultiWriter(outs...), os.Stdin)
	return errors.Join(append(errs, err)...)
}

// seq prints whole numbers: LAST, FIRST LAST, or FIRST STEP LAST.
func seq(args []string) error {
	nums := make([]int, len(args))
	for n, a := range args {
		var err error
		if nums[n], err = strconv.Atoi(a); err != nil {
			return fmt.Errorf("%q is no whole number", a)
		}
	}
	first, step, last := 1, 1, 0
	switch len(nums) {
	case 1:
		last = nums[0]
	case 2:
		first, last = nums[0], nums[1]
	case 3:
		first, step, last = nums[0], nums[1], nums[2]
	default:
		return errors.New("takes LAST, FIRST LAST, or FIRST STEP LAST")
	}
	if step == 0 {
		return errors.New("the step is 0")
	}
	for n := first; step > 0 && n <= last || step < 0 && n >= last; n += step {
		fmt.Println(n)
	}
	return nil
}
