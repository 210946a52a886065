//go:build !amd64

package attacks

var ofArch []forbidden
