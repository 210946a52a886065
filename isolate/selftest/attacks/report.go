package attacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Report is what one attack came to, as a probe prints it: one line of JSON.
type Report struct {
	Attack string            `json:"attack"`
	Result string            `json:"result"` // worked, when any try did, or refused
	Detail map[string]string `json:"detail"` // outcome of each try, and facts
}

// A Func is one attack. It reports what came of each try.
type Func func(r *Report, args []string)

// Print says what came of the attack so far.
func (r *Report) Print() {
	line, err := json.Marshal(r)
	if err != nil {
		Fatal(err)
	}
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		Fatal(err)
	}
}

// Try records one attempt. Without an error it worked.
func (r *Report) Try(name string, err error) {
	if err == nil {
		r.Result = "worked"
	}
	r.Detail[name] = Outcome(err)
}

// Fact records what the attack saw.
func (r *Report) Fact(name string, value any) { r.Detail[name] = fmt.Sprint(value) }

// Found records an attempt that works by finding something.
func (r *Report) Found(name string, yes bool) {
	if yes {
		r.Try(name, nil)
	} else {
		r.Try(name, errors.New("no"))
	}
}

// Outcome is an error as reports have it: ok, or the kernel's name for it.
func Outcome(err error) string {
	if err == nil {
		return "ok"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// Parse reads what a probe has printed.
func Parse(line []byte) (map[string]string, error) {
	var r Report
	err := json.Unmarshal(line, &r)
	return r.Detail, err
}
