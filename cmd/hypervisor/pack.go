package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gilliam/hypervisor/server/proc/durable"
)

//go:embed sample
var sampleFiles embed.FS

// packSample writes the sample app's image into dir and returns its path. The
// archive is the same each time, and an equal one is not written again, so that
// it is unpacked only once.
func packSample(dir string) (string, error) {
	tree, err := fs.Sub(sampleFiles, "sample")
	if err != nil {
		return "", err
	}
	image, err := pack(tree)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sample.tar.gz")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, image) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return path, durable.Replace(path, image)
}

// pack makes a .tar.gz of the files of tree, without their times and owners.
func pack(tree fs.FS) ([]byte, error) {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	archive := tar.NewWriter(zip)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		err = archive.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))})
		if err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
