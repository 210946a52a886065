package ext4

// crc16 is the kernel's (lib/crc16.c): CRC-16/ARC, which the standard library lacks.
func crc16(sum uint16, data []byte) uint16 {
	for _, b := range data {
		sum ^= uint16(b)
		for range 8 {
			if sum&1 != 0 {
				sum = sum>>1 ^ 0xA001
			} else {
				sum >>= 1
			}
		}
	}
	return sum
}
