package isolate

import "encoding/json"

// MarshalJSON writes the plan for programs: every step is an object whose op
// says what it does, whose text is how it prints, and which has its own fields.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan // without this method
	steps := make([]any, len(p.Steps))
	for i, s := range p.Steps {
		steps[i] = stepJSON(s)
	}
	return json.Marshal(struct {
		plain
		Steps []any `json:"steps"`
	}{plain(p), steps})
}

func stepJSON(step Step) any {
	object := func(op string, fields map[string]any) map[string]any {
		fields["op"], fields["text"] = op, step.String()
		return fields
	}
	switch s := step.(type) {
	case MountLayer:
		return object("mount_layer", map[string]any{
			"image": s.Image, "bytes": s.Bytes, "inodes": s.Inodes, "options": s.Options, "flags": s.Flags.String(),
		})
	case MountRoot:
		return object("mount_root", map[string]any{
			"lower": s.Lowers, "upper": s.Upper, "work": s.Work, "options": s.Options, "flags": s.Flags.String(),
		})
	case BindRoot:
		return object("bind_root", map[string]any{"source": s.Source, "flags": s.Flags.String()})
	case Mount:
		return object("mount", map[string]any{"type": s.Type, "target": s.Target, "options": s.Options, "flags": s.Flags.String()})
	case Mkdir:
		return object("mkdir", map[string]any{"path": s.Path})
	case Device:
		return object("device", map[string]any{"path": s.Path, "major": s.Major, "minor": s.Minor})
	case Symlink:
		return object("symlink", map[string]any{"path": s.Path, "target": s.Target})
	case BindStep:
		return object("bind", map[string]any{
			"source": s.Source, "within": s.Within, "target": s.Target, "idmapped": s.IDMapped, "flags": s.Flags.String(),
		})
	case MountVolume:
		return object("mount_volume", map[string]any{
			"image": s.Image, "target": s.Target, "bytes": s.Bytes, "inodes": s.Inodes, "options": s.Options, "flags": s.Flags.String(),
		})
	case MountFileSystem:
		return object("mount_file_system", map[string]any{
			"type": s.Type, "image": s.Image, "target": s.Target, "idmapped": s.IDMapped, "options": s.Options, "flags": s.Flags.String(),
		})
	case Extend:
		return object("extend", map[string]any{"path": s.Path, "options": s.Options, "flags": s.Flags.String()})
	case Mask:
		return object("mask", map[string]any{"path": s.Path})
	case Protect:
		return object("protect", map[string]any{"path": s.Path, "flags": s.Flags.String()})
	}
	return object("unknown", map[string]any{})
}
