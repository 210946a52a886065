package server

import "context"

type fakeTemplates struct{ err error }

var aTemplate = Template{Name: "web", Version: "0123456789abcdef", Hash: "sha256:0", Files: 3, Bytes: 4, Procs: 1}

func (f fakeTemplates) Versions(ref string) ([]Template, error) {
	if ref != "web" {
		return nil, &TemplateError{ErrNoTemplate, "no " + ref}
	}
	return []Template{aTemplate}, f.err
}

func (f fakeTemplates) Verify(_ context.Context, ref string) (TemplateVerdict, error) {
	if ref != "web" {
		return TemplateVerdict{Differences: []TemplateDifference{{"etc/passwd", "missing"}}}, f.err
	}
	return TemplateVerdict{}, f.err
}

func (f fakeTemplates) Remove(ref string) error {
	if ref == "web" {
		return &TemplateError{ErrTemplateInUse, "web is in use"}
	}
	return f.err
}

func (f fakeTemplates) Prune() ([]Template, error) { return nil, f.err }

func (f fakeTemplates) List() ([]Template, error) { return []Template{{Name: "default"}}, f.err }
