package proc

import (
	"context"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs"
)

// start provisions the proc and launches its sandbox.
func (i *instance) start() (*isolate.Sandbox, error) {
	if i.isStopping() {
		return nil, context.Canceled
	}
	if err := i.book(); err != nil {
		return nil, err
	}
	start := time.Now()
	spec, err := i.provision()
	if err != nil {
		if i.m.isLeaving() {
			return nil, errLeft
		}
		i.m.pressed(err)
		return nil, err
	}
	box, err := i.launch(spec)
	if err != nil {
		i.m.pressed(err)
		return nil, err
	}
	i.phase("total", start)
	return box, nil
}

// provision finds the template, fetches the image and makes the layer.
func (i *instance) provision() (isolate.Spec, error) {
	r := i.recorded()
	ctx, cancel := context.WithCancel(i.boot)
	defer cancel()
	defer context.AfterFunc(i.m.life, cancel)()
	var template rootfs.Template
	var image rootfs.Image
	var err error
	if !rootfs.IsContainer(r.Proc.Image) { // which brings its own
		if template, err = i.m.cfg.Templates.Get(templateRef(r.Proc)); err != nil {
			return isolate.Spec{}, err
		}
	}
	if r.Proc.Image != "" {
		start := time.Now()
		want := rootfs.Want{Ref: r.Proc.Image, Digest: r.Proc.ImageDigest, Holder: r.Proc.ID}
		if image, err = i.m.cfg.Images.Fetch(ctx, want); err != nil {
			return isolate.Spec{}, err
		}
		i.setImage(image.Digest)
		i.phase("fetch", start)
		failpoint.Hit("proc.image.fetched")
	}
	if image.Container != nil {
		if err := i.settle(image); err != nil {
			return isolate.Spec{}, err
		}
		failpoint.Hit("proc.container.settled")
		r = i.recorded()
	}
	start := time.Now()
	ids := idsOf(*r.IDs)
	layer, err := i.m.layer(r.Proc, ids)
	if err != nil {
		return isolate.Spec{}, err
	}
	if err := i.writeHosts(); err != nil {
		return isolate.Spec{}, err
	}
	i.phase("layer", start)
	b := onTemplate(r.Proc, template)
	if image.Container != nil {
		b = onContainer(r.Proc, *image.Container)
	}
	spec := specOf(i.m.cfg.StateDir, r.Proc, b, ids, layer)
	spec.Binds, spec.FileSystems = i.m.binds(r.Proc, image), fileSystems(image)
	return spec, i.m.provideMounts(&spec, r.Proc.Mounts)
}

// launch starts the sandbox, which keeps itself and its log in the proc's folder.
func (i *instance) launch(spec isolate.Spec) (*isolate.Sandbox, error) {
	start := time.Now()
	plan, err := isolate.NewPlan(spec, i.m.cfg.Engine.Host())
	if err != nil {
		return nil, err
	}
	if err := writeSpec(i.dir, spec); err != nil {
		return nil, err
	}
	failpoint.Hit("proc.spec.written")
	keep := i.keep()
	box, err := i.m.cfg.Engine.Launch(i.boot, plan, isolate.IO{Keep: &keep})
	if err != nil {
		return nil, err
	}
	i.phase("launch", start)
	i.setSandbox(box)
	if i.isStopping() {
		return nil, context.Canceled
	}
	return box, nil
}

// keep is where the sandbox keeps what it needs.
func (i *instance) keep() isolate.Keep {
	return isolate.Keep{Dir: i.dir, Segment: i.m.cfg.LogSegment, Rate: i.m.cfg.LogRate}
}
