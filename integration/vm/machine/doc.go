// Package machine makes and runs a virtual machine for tests: a kernel out of a
// Debian package, an initramfs, ext4 disks, and qemu without KVM.
//
//	k, err := machine.FetchKernel(ctx, "/var/lib/gilliam/vm", "linux-image-amd64")
//	files, err := k.Modules("ext4", "overlay", "virtio_blk") // in the order to load them
//	a := machine.NewArchive(f)                               // the initramfs
//	err = a.File("init", 0o755, content)
//	err = a.Close()
//	err = machine.MakeDisk(ctx, "disk.img", "/some/folder", 64<<20)
//	m := machine.Machine{Kernel: k.Image, Initrd: f.Name(), Disks: []machine.Disk{{Image: "disk.img"}}, …}
//	err = m.Run(ctx, os.Stdout) // until it turns itself off
//
//	r, err := m.Boot(ctx, os.Stdout) // and a power cut, from which the disk is left
//	err = r.Kill()
//	err = m.Run(ctx, os.Stdout)
//
// It needs apt-get, dpkg-deb, mke2fs and qemu-system-x86_64, and root to copy
// other users' files. The guest has no network and no way to the host's files.
// It is for code that is trusted as much as the tests on the host are.
package machine
