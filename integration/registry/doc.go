// Package registry is the peer of the tests of container images: the registry of
// go-containerregistry, on loopback, with what it is asked for counted.
//
//	r := registry.New(t)
//	digest := r.Push("blog:1", registry.Image{Config: v1.Config{Cmd: []string{"/run"}}, Layers: [][]byte{registry.Tar(t, …)}})
//	ref := r.Ref("blog:1") // oci://127.0.0.1:…/blog:1
package registry
