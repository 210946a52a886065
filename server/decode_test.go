package server

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

func TestDecodeStrict(t *testing.T) {
	tests := []struct {
		name, body string
		field      string // of the error; empty: none
	}{
		{"all", `{"app":"a","name":"n","image":"i","command":["x","y"],"config":{"A":"1"},"callback":"c","template":"t","network":"none","limits":{"memory":1,"pids":2,"cpu":0.5}}`, ""},
		{"all limits", `{"limits":{"cpu_weight":50,"io":{"weight":1,"read_bps":2,"write_bps":3,"read_iops":4,"write_iops":5},"rlimits":{"nofile":6,"nproc":7,"memlock":8,"fsize":9}}}`, ""},
		{"unknown limit of io", `{"limits":{"io":{"rbps":1}}}`, "limits.io.rbps"},
		{"unknown rlimit", `{"limits":{"rlimits":{"core":1}}}`, "limits.rlimits.core"},
		{"limit of io that is none", `{"limits":{"io":{"read_bps":"10M"}}}`, "limits.io.read_bps"},
		{"null is not given", `{"app":"a","config":null,"limits":null}`, ""},
		{"unknown", `{"app":"a","appp":"b"}`, "appp"},
		{"other case", `{"App":"a"}`, "App"},
		{"unknown below", `{"limits":{"memry":1}}`, "limits.memry"},
		{"wrong type", `{"app":1}`, "app"},
		{"wrong type below", `{"limits":{"memory":"10"}}`, "limits.memory"},
		{"wrong type in config", `{"config":{"A":1}}`, "config.A"},
		{"config is a list", `{"config":[]}`, "config"},
		{"command is a number", `{"command":1}`, "command"},
		{"command of numbers", `{"command":[1]}`, "command"},
		{"fraction", `{"limits":{"memory":1.5}}`, "limits.memory"},
		{"2^63", `{"limits":{"memory":9223372036854775808}}`, "limits.memory"},
		{"1e309", `{"limits":{"cpu":1e309}}`, "limits.cpu"},
		{"minus one decodes", `{"limits":{"memory":-1}}`, ""},
		{"twice", `{"app":"a","app":"b"}`, "app"},
		{"twice below", `{"config":{"A":"1","A":"2"}}`, "config.A"},
		{"twice by escape", `{"app":"a","\u0061pp":"b"}`, "app"},
		{"trailing object", `{"app":"a"}{}`, "body"},
		{"trailing garbage", `{"app":"a"} x`, "body"},
		{"list", `[]`, "body"},
		{"null", `null`, "body"},
		{"string", `"app"`, "body"},
		{"empty", ``, "body"},
		{"blank", "  \n", "body"},
		{"cut off", `{"app":"a"`, "body"},
		{"not utf-8", "{\"app\":\"\xff\"}", "body"},
		{"byte order mark", "\ufeff{}", "body"},
		{"deep", `{"command":` + strings.Repeat("[", 100_000), "command"},
		{"deep objects", `{"command":` + strings.Repeat(`{"a":`, 50_000), ""}, // checked below
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var req proc.Request
			err := decodeStrict([]byte(tt.body), &req)
			var field *proc.FieldError
			switch {
			case strings.HasPrefix(tt.name, "deep"):
				if !errors.As(err, &field) {
					t.Errorf("got %v", err)
				}
			case tt.field == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.field != "" && (!errors.As(err, &field) || field.Field != tt.field):
				t.Errorf("got %v, want field %s", err, tt.field)
			}
		})
	}
}

// What the strict decoder takes, the original's takes the same way; whatever
// is sent, it names a field or decodes.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"app":"a","name":"n","command":"x","config":{"A":"1"},"limits":{"memory":1,"cpu":2e0}}`,
		`{"command":["a","b"]}`, `{"a":{"b":[[[]]]}}`, `null`, `{"app":"a","app":"b"}`, `{}{}`, "\ufeff{}", `{"limits":{"memory":1e3}}`, `{"config":{"":null}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var strict, lax proc.Request
		err := decodeStrict(b, &strict)
		if err != nil {
			var field *proc.FieldError
			if !errors.As(err, &field) || field.Field == "" && !strings.Contains(string(b), `""`) {
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		if err := json.Unmarshal(b, &lax); err != nil || !reflect.DeepEqual(strict, lax) {
			t.Fatalf("%q: strict %+v, lax %+v, %v", b, strict, lax, err)
		}
	})
}

// Lists, and objects behind pointers, are as strict as the rest.
func TestDecodeLists(t *testing.T) {
	const good = `{"app":"a","capabilities":["CAP_KILL"],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
		"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}}`
	var req proc.Request
	if err := decodeStrict([]byte(good), &req); err != nil {
		t.Fatal(err)
	}
	if len(req.Capabilities) != 1 || len(req.Seccomp.Syscalls) != 1 || req.Seccomp.Syscalls[0].Args[0].Value != 1 {
		t.Errorf("%+v", req)
	}
	for field, text := range map[string]string{
		"capabilities":                      `{"capabilities":"CAP_KILL"}`,
		"capabilities[1]":                   `{"capabilities":["CAP_KILL",7]}`,
		"seccomp":                           `{"seccomp":[]}`,
		"seccomp.default_action":            `{"seccomp":{"default_action":"x"}}`,
		"seccomp.syscalls[0].name":          `{"seccomp":{"syscalls":[{"name":"read"}]}}`,
		"seccomp.syscalls[0].args[0].value": `{"seccomp":{"syscalls":[{"names":["read"],"args":[{"value":-1}]}]}}`,
		"limits":                            `{"limits":[1]}`,
	} {
		var req proc.Request
		var wrong *proc.FieldError
		if err := decodeStrict([]byte(text), &req); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
