package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/gilliam/hypervisor/server/proc"
)

// maxDepth bounds how deep a request may nest.
const maxDepth = 16

// decodeStrict decodes one JSON object into v, a pointer to a struct. Unlike
// encoding/json alone it refuses a field that is unknown, spelled in another
// case or given twice, and names each field that is wrong by its path.
func decodeStrict(b []byte, v any) error {
	if err := scanJSON(b, reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	return decodeLax(b, v)
}

// decodeLax decodes one JSON object as the original did: what it does not
// know, it leaves out.
func decodeLax(b []byte, v any) error {
	if !utf8.Valid(b) {
		return &proc.FieldError{Field: "body", Detail: "must be UTF-8"}
	}
	err := json.Unmarshal(b, v)
	var wrong *json.UnmarshalTypeError
	var field *proc.FieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &field):
		return field
	case errors.As(err, &wrong):
		return &proc.FieldError{Field: orBody(wrong.Field), Detail: "must be " + kindName(wrong.Type) + ", not " + wrong.Value}
	}
	return &proc.FieldError{Field: "body", Detail: "must be one JSON object: " + err.Error()}
}

// scanJSON walks the tokens of b beside the type that they are meant for.
func scanJSON(b []byte, t reflect.Type) error {
	if !utf8.Valid(b) {
		return &proc.FieldError{Field: "body", Detail: "must be UTF-8"}
	}
	s := scanner{dec: json.NewDecoder(bytes.NewReader(b))}
	s.dec.UseNumber()
	if err := s.value(t, "", 0); err != nil {
		var field *proc.FieldError
		if errors.As(err, &field) {
			return field
		}
		return &proc.FieldError{Field: "body", Detail: "must be one JSON object: " + err.Error()}
	}
	if _, err := s.dec.Token(); err != io.EOF {
		return &proc.FieldError{Field: "body", Detail: "must be one JSON object and nothing after it"}
	}
	return nil
}

type scanner struct{ dec *json.Decoder }

// value scans one value. The type tells which fields an object may have and is
// nil where anything may stand.
func (s scanner) value(t reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return &proc.FieldError{Field: orBody(path), Detail: fmt.Sprintf("nests deeper than %d", maxDepth)}
	}
	token, err := s.dec.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if t != nil && t.Kind() == reflect.Pointer && !decodesItself(t.Elem()) {
		t = t.Elem()
	}
	if err := checkKind(token, t, path, depth); err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return s.object(t, path, depth)
	case json.Delim('['):
		var element reflect.Type
		if t != nil && t.Kind() == reflect.Slice && !decodesItself(t) {
			element = t.Elem()
		}
		for i := 0; s.dec.More(); i++ {
			at := path
			if element != nil {
				at = fmt.Sprintf("%s[%d]", path, i)
			}
			if err := s.value(element, at, depth+1); err != nil {
				return err
			}
		}
		_, err := s.dec.Token()
		return err
	}
	return nil
}

// object scans the rest of an object.
func (s scanner) object(t reflect.Type, path string, depth int) error {
	seen := map[string]bool{}
	for s.dec.More() {
		token, err := s.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		at := name
		if path != "" {
			at = path + "." + name
		}
		if seen[name] {
			return &proc.FieldError{Field: at, Detail: "is given twice"}
		}
		seen[name] = true
		ft, known := fieldType(t, name)
		if !known {
			return &proc.FieldError{Field: at, Detail: "is not a field of this request"}
		}
		if err := s.value(ft, at, depth+1); err != nil {
			return err
		}
	}
	_, err := s.dec.Token()
	return err
}

// fieldType is the type of t's field of that JSON name, exactly; nil where
// anything may stand.
func fieldType(t reflect.Type, name string) (ft reflect.Type, known bool) {
	switch {
	case t == nil:
		return nil, true
	case t.Kind() == reflect.Map:
		return t.Elem(), true
	}
	for _, f := range reflect.VisibleFields(t) { // those of embedded structs too
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && f.IsExported() {
			return f.Type, true
		}
	}
	return nil, false
}

// checkKind tells whether a value that begins with token can be a t. Null is
// the same as nothing given, but not in the place of the whole.
func checkKind(token json.Token, t reflect.Type, path string, depth int) error {
	if t == nil || decodesItself(t) || token == nil && depth > 0 {
		return nil
	}
	ok := false
	switch v := token.(type) {
	case json.Delim:
		ok = v == '{' && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map) || v == '[' && t.Kind() == reflect.Slice
	case string:
		ok = t.Kind() == reflect.String
	case bool:
		ok = t.Kind() == reflect.Bool
	case json.Number:
		ok = json.Unmarshal([]byte(v), reflect.New(t).Interface()) == nil
	}
	if !ok {
		return &proc.FieldError{Field: orBody(path), Detail: "must be " + kindName(t)}
	}
	return nil
}

func decodesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

// kindName is what a person calls the values of t.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number of at most 63 bits"
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	}
	return "a JSON object"
}

func orBody(path string) string {
	if path == "" {
		return "body"
	}
	return path
}
