// Command goweb is a web app in one static binary, for the tests: it says who
// it is on every path.
package main
