// Package testbed is what tests on real sandboxes share: it makes sure that they
// can run, and that they leave nothing on the host.
//
//	func TestMain(m *testing.M) { testbed.Main(m) }
//
// A test that was selected by the build tag integration must run: when the
// machine lacks something, [Main] fails with the command that mends it. Nothing
// here is used by the hypervisor itself.
package testbed
