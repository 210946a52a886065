package isolate

import "time"

// SetLockPatience lets tests wait less for a volume. It returns what undoes it.
func SetLockPatience(d time.Duration) func() {
	was := lockPatience
	lockPatience = d
	return func() { lockPatience = was }
}
