package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// maxWait bounds every duration that a client may ask for.
const maxWait = time.Hour

// A query is the checked query string of a request.
type query map[string]string

// queryOf refuses parameters that the route does not have, and any given twice:
// a misspelled filter must not list everything.
func queryOf(c echo.Context, known ...string) (query, error) {
	q := query{}
	for name, values := range c.QueryParams() {
		if !slices.Contains(known, name) {
			return nil, &proc.FieldError{Field: name, Detail: "is not a parameter of this request; it takes " + orNone(known)}
		}
		if len(values) != 1 {
			return nil, &proc.FieldError{Field: name, Detail: "is given twice"}
		}
		q[name] = values[0]
	}
	return q, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// duration is the parameter as a duration such as 5s; def when it is not given.
func (q query) duration(name string, def time.Duration) (time.Duration, error) {
	v, given := q[name]
	if !given {
		return def, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > maxWait {
		return 0, &proc.FieldError{Field: name, Detail: fmt.Sprintf("must be a duration from 0s to %s, such as 5s", maxWait)}
	}
	return d, nil
}

// boolean is the parameter as true or false; false when it is not given.
func (q query) boolean(name string) (bool, error) {
	v, given := q[name]
	if !given {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, &proc.FieldError{Field: name, Detail: "must be true or false"}
	}
	return b, nil
}

// count is the parameter as a number of zero or more; -1 when it is not given.
func (q query) count(name string) (int, error) {
	v, given := q[name]
	if !given {
		return -1, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, &proc.FieldError{Field: name, Detail: "must be a whole number, 0 or more"}
	}
	return int(n), nil
}

// bytes is the parameter as a number of bytes; 0 when it is not given.
func (q query) bytes(name string) (int64, error) {
	v, given := q[name]
	if !given {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, &proc.FieldError{Field: name, Detail: "must be a number of bytes, 0 or more"}
	}
	return n, nil
}

// since is the parameter as a time, which may be given as how long ago it was;
// zero when it is not given.
func (q query) since(name string) (time.Time, error) {
	v, given := q[name]
	if !given {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(v); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return t, &proc.FieldError{Field: name, Detail: "must be how long ago, such as 10m, or a time such as 2026-01-02T15:04:05Z"}
	}
	return t, nil
}

// procID is the id of the path. What is not a UUID as we write them is no
// proc's, and never gets further than here.
func procID(c echo.Context) (string, error) {
	id := c.Param("id")
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id {
		return "", proc.ErrNotExist
	}
	return id, nil
}
