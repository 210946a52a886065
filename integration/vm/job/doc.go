// Package job is what the host and the guest of a test machine say to each
// other: the host writes a [Job] into the initramfs, and the guest answers with
// framed lines on its console, between what the tests and the kernel print.
//
//	os.Stdout.WriteString(job.End(test.Name, code, took)) // in the guest
//
//	var t job.Transcript
//	err := machine.Run(ctx, &t) // on the host: what is written to t is the console
//	r := t.Results[test.Name]
//
// A line that the kernel or a test broke is no frame. A result is then missing,
// which the host takes for a failure, never for a success.
package job
