package attacks

import (
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"
)

// forkbomb makes processes until it may not, or has made as many as its argument
// says, and keeps them.
func forkbomb(r *Report, args []string) {
	most, err := strconv.Atoi(args[0])
	if err != nil {
		Fatal(err)
	}
	made := 0
	for made < most {
		if _, errno := Idler(); errno != 0 {
			r.Try("as many processes as it likes", errno)
			break
		}
		made++
	}
	if made == most {
		r.Try("as many processes as it likes", nil)
	}
	r.Fact("made", made)
	r.Print()
	Rest()
}

// stubborn does all that keeps a process alive: it ignores what can be ignored,
// says so when it is asked to end, and has stopped, orphaned and running
// descendants in sessions of their own.
func stubborn(r *Report, _ []string) {
	asked := make(chan os.Signal, 8)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM)
	signal.Notify(asked, unix.SIGTERM)
	stopped, errno := Idler()
	if errno != 0 {
		Fatal(errno)
	}
	if err := unix.Kill(int(stopped), unix.SIGSTOP); err != nil {
		Fatal(err)
	}
	if _, errno := Orphan(); errno != 0 {
		Fatal(errno)
	}
	if _, errno := Runner(); errno != 0 {
		Fatal(errno)
	}
	r.Print()
	for range asked {
		r.Fact("asked to end", "no")
		r.Print()
	}
}
