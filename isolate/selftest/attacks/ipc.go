package attacks

import (
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A meeting is where two processes of one machine could meet: an abstract
// socket, System V objects, a message queue and a file in /dev/shm, all under
// names made of one number.
type meeting int

func newMeeting(args []string) meeting {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		Fatal(err)
	}
	return meeting(n)
}

func (m meeting) name() string { return "gilliam-attack-" + strconv.Itoa(int(m)) }

// privateIPC makes all that a meeting needs, open to everyone, and waits. With
// "remove" as its second argument it removes them.
func privateIPC(r *Report, args []string) {
	m := newMeeting(args)
	unix.Umask(0)
	if len(args) > 1 {
		m.remove()
		return
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(s, m.address())
	}
	if err == nil {
		err = unix.Listen(s, 8)
	}
	if err != nil {
		Fatal(err)
	}
	_, errno := m.get(unix.SYS_SHMGET, 4096, 0o666|unix.IPC_CREAT)
	r.Fact("shm", errno)
	_, errno = m.get(unix.SYS_MSGGET, 0o666|unix.IPC_CREAT, 0)
	r.Fact("msg", errno)
	_, errno = m.get(unix.SYS_SEMGET, 1, 0o666|unix.IPC_CREAT)
	r.Fact("sem", errno)
	_, err = m.queue(unix.O_CREAT | unix.O_RDWR)
	r.Fact("mqueue", Outcome(err))
	r.Fact("file", Outcome(os.WriteFile("/dev/shm/"+m.name(), []byte("private"), 0o666)))
	r.Print()
	Rest()
}

// IPC is what must come of ipc.
var IPC = Expectation{Want: map[string]string{
	"abstract socket": "ECONNREFUSED", "shm": "ENOENT", "msg": "ENOENT", "sem": "ENOENT", "mqueue": "ENOENT", "file in /dev/shm": "ENOENT",
	"listed shm": "no", "listed msg": "no", "listed sem": "no", "listed mqueue": "ENOENT", "listed socket": "no",
}}

// ipc looks for what a private-ipc outside has made.
func ipc(r *Report, args []string) {
	m := newMeeting(args)
	r.Try("abstract socket", m.connect())
	r.tryGet("shm", m, unix.SYS_SHMGET, 0)
	r.tryGet("msg", m, unix.SYS_MSGGET, 0)
	r.tryGet("sem", m, unix.SYS_SEMGET, 0)
	_, err := m.queue(unix.O_RDWR)
	r.Try("mqueue", err)
	r.Try("file in /dev/shm", Open("/dev/shm/"+m.name(), unix.O_RDWR))
	for _, kind := range []string{"shm", "msg", "sem"} {
		b, err := os.ReadFile("/proc/sysvipc/" + kind)
		r.Found("listed "+kind, err == nil && strings.Count(string(b), "\n") > 1)
	}
	_, err = os.Stat("/dev/mqueue/" + m.name())
	r.Try("listed mqueue", err)
	b, err := os.ReadFile("/proc/net/unix")
	r.Found("listed socket", err == nil && strings.Contains(string(b), m.name()))
}

// address is that of the abstract socket (unix(7)).
func (m meeting) address() unix.Sockaddr { return &unix.SockaddrUnix{Name: "@" + m.name()} }

func (m meeting) connect() error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	return unix.Connect(s, m.address())
}

func (m meeting) get(number, a, b uintptr) (uintptr, unix.Errno) {
	id, _, errno := unix.Syscall(number, uintptr(m), a, b)
	return id, errno
}

func (r *Report) tryGet(name string, m meeting, number, flags uintptr) {
	if _, errno := m.get(number, flags, 0); errno != 0 {
		r.Try(name, errno)
	} else {
		r.Try(name, nil)
	}
}

// queue opens the message queue (mq_open(3)).
func (m meeting) queue(flags int) (uintptr, error) {
	name, err := unix.BytePtrFromString(m.name())
	if err != nil {
		return 0, err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), uintptr(flags), 0o666, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return fd, nil
}

func (m meeting) remove() {
	for get, ctl := range map[uintptr]uintptr{
		unix.SYS_SHMGET: unix.SYS_SHMCTL, unix.SYS_MSGGET: unix.SYS_MSGCTL, unix.SYS_SEMGET: unix.SYS_SEMCTL,
	} {
		id, errno := m.get(get, 0, 0)
		if errno != 0 {
			continue
		}
		command := [3]uintptr{id, unix.IPC_RMID, 0}
		if get == unix.SYS_SEMGET {
			command = [3]uintptr{id, 0, unix.IPC_RMID}
		}
		_ = Call(ctl, command[0], command[1], command[2])
	}
	if name, err := unix.BytePtrFromString(m.name()); err == nil {
		_ = Call(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)))
	}
	_ = os.Remove("/dev/shm/" + m.name())
}
