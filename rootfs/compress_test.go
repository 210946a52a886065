package rootfs

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// compressors make what [Decompress] reads.
var compressors = map[Compression]func(t testing.TB, b []byte) []byte{
	Uncompressed: func(_ testing.TB, b []byte) []byte { return b },
	Gzip:         gzipped,
	Zstd:         zstandard,
	XZ:           func(_ testing.TB, b []byte) []byte { return stored(b, 16) },
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer zw.Close()
	return zw.EncodeAll(b, nil)
}

// stored is an xz stream that holds b as it is, with a dictionary size of
// 2|(d&1) << d/2+11 bytes, 4 GiB for 40: The .xz File Format, version 1.2.0.
func stored(b []byte, d byte) []byte {
	sum := func(p []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(p)) }
	number := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	padded := func(p []byte) []byte { return append(p, make([]byte, -len(p)&3)...) }
	flags := []byte{0, 1} // the check is a CRC32

	block := padded([]byte{2, 0, 0x21, 1, d}) // one filter, LZMA2
	block = append(block, sum(block)...)
	head := len(block)
	for rest, control := b, byte(1); len(rest) > 0; control = 2 {
		n := min(len(rest), 1<<16)
		block = append(block, control, byte((n-1)>>8), byte(n-1))
		block = append(block, rest[:n]...)
		rest = rest[n:]
	}
	block = append(block, 0)
	unpadded := len(block) + 4 // with the check
	block = append(block, make([]byte, -(len(block)-head)&3)...)
	block = append(block, sum(b)...)

	index := padded(append(append([]byte{0, 1}, number(unpadded)...), number(len(b))...))
	index = append(index, sum(index)...)

	footer := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	out := append([]byte("\xfd7zXZ\x00"), flags...)
	out = append(append(out, sum(flags)...), append(block, index...)...)
	return append(append(append(out, sum(footer)...), footer...), 'Y', 'Z')
}
