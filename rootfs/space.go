package rootfs

// A Space is how much there is of a file system, in bytes.
type Space struct {
	Size int64 // all
	Free int64 // for files of anybody's
}

// Space is that of the file system of the layers.
func (l *Layers) Space() (Space, error) { return spaceOf(l.fd) }
