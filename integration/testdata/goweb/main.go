package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("goweb stops")
		os.Exit(0)
	}()
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("goweb listens")
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(os.Stderr, "goweb answers %s\n", r.URL.Path)
		fmt.Fprintf(w, "goweb on %s\n", host)
	})))
}
