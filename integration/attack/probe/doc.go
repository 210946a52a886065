// Probe attacks the sandbox that it runs in. Its first argument names the
// attack, and it prints one line of JSON:
//
//	{"attack": "sockets", "result": "refused", "detail": {"AF_ALG": "EPERM", …}}
//
// An attack is made of tries, each with its outcome in detail: "ok" when it
// worked, else the name of the error. The result is "worked" when any try did.
// Detail also holds facts, such as the capabilities in /proc/self/status; they
// do not make a result.
//
// With -fresh before the attack's name it first mounts a /proc and a /tmp of its
// own, for controls that run in new pid and mount namespaces.
package main
