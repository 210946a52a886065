package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/gilliam/hypervisor/server/proc"
)

// printJSON prints v for a program, and for a person who looks.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// answer prints what a verb has made or changed: all of it as JSON, or its name.
func (a *app) answer(asJSON bool, v any, name string) error {
	if asJSON {
		return a.printJSON(v)
	}
	fmt.Fprintln(a.stdout, name)
	return nil
}

// printProcs prints a table of procs.
func printProcs(out io.Writer, procs []proc.Proc, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tAPP\tNAME\tSTATE\tPORT\tAGE\tCOMMAND")
	for _, p := range procs {
		port := "-"
		if p.Port != 0 {
			port = strconv.Itoa(p.Port)
		}
		fmt.Fprintf(w, "%.8s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, cell(p.App), cell(p.Name), stateCell(p), port, age(now.Sub(p.Created)), cell(p.Command.String()))
	}
	return w.Flush()
}

// stateCell is the state, with how a proc ended.
func stateCell(p proc.Proc) string {
	switch {
	case p.OOMKilled:
		return string(p.State) + " (out of memory)"
	case p.Signal != "":
		return string(p.State) + " (" + p.Signal + ")"
	case p.State == proc.Fail && p.ExitCode != nil:
		return string(p.State) + " (" + strconv.Itoa(*p.ExitCode) + ")"
	case p.State == proc.Restarting && p.Last != nil:
		return fmt.Sprintf("%s (%d in a row: %s)", p.State, p.InRow, cell(p.Last.Reason))
	case p.State == proc.Running && p.Status != "":
		return fmt.Sprintf("%s (%s)", p.State, p.Status)
	case p.State == proc.Running && p.Listening != nil:
		return string(p.State) + " (listening)"
	case p.State == proc.Fail:
		return string(p.State) + " (not started)"
	}
	return string(p.State)
}

// maxCell is how wide a column of a client's words may be.
const maxCell = 48

// cell makes a client's words safe for a table and a terminal.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	s = printable(s)
	if r := []rune(s); len(r) > maxCell {
		return string(r[:maxCell-1]) + "…"
	}
	return s
}

// printable makes words that came from elsewhere safe for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
