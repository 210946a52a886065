package attacks

import (
	"os"
	"strings"
)

// read tells what files hold.
func read(r *Report, args []string) {
	for _, path := range args {
		b, err := os.ReadFile(path)
		if err != nil {
			r.Fact(path, Outcome(err))
			continue
		}
		r.Fact(path, strings.TrimSpace(string(b[:min(len(b), 200)])))
	}
}
