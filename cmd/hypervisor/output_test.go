package main

import (
	"bytes"
	"sync"
)

// output is what a program writes, to be read meanwhile.
type output struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wants map[string]chan struct{}
}

func newOutput() *output { return &output{wants: map[string]chan struct{}{}} }

// has is closed when the output holds text.
func (o *output) has(text string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := make(chan struct{})
	o.wants[text] = c
	o.tell()
	return c
}

func (o *output) tell() {
	for text, c := range o.wants {
		if bytes.Contains(o.b.Bytes(), []byte(text)) {
			close(c)
			delete(o.wants, text)
		}
	}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.b.Write(p)
	o.tell()
	return n, err
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
