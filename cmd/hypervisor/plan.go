package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/gilliam/hypervisor/server"
)

// printPlan asks for a plan and prints it, one step a line or as JSON.
func (a *app) printPlan(ctx context.Context, c *client, asJSON bool, method, path string, body any) error {
	if asJSON {
		var plan json.RawMessage
		if _, err := c.call(ctx, method, path, body, &plan); err != nil {
			return err
		}
		return a.printJSON(plan)
	}
	res, err := c.do(ctx, method, path, body, "text/plain")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(a.stdout, res.Body)
	return err
}

// verify prints where the kernel enforces something else than the plan, and
// fails when it does.
func (a *app) verify(ctx context.Context, c *client, asJSON bool, id string) error {
	var v server.Verification
	if _, err := c.call(ctx, http.MethodGet, "/v1/procs/"+id+"/verify", nil, &v); err != nil {
		return err
	}
	if asJSON {
		if err := a.printJSON(v); err != nil {
			return err
		}
	}
	if n := len(v.Differences); n > 0 {
		if !asJSON {
			for _, d := range v.Differences {
				fmt.Fprintln(a.stdout, d)
			}
		}
		return fmt.Errorf("proc %s: what the kernel enforces differs from the plan in %d points", id, n)
	}
	if !asJSON {
		fmt.Fprintln(a.stdout, "the kernel enforces the plan")
	}
	return nil
}
