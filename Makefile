# Two commands do everything: `sudo make run` and `sudo make test`.
# `make help` lists the others.

STATE    ?= /var/lib/gilliam
# What tests run on: the current version of the default template, as it is sealed in the store.
TEMPLATE ?= $(STATE)/templates/default/current/tree
# Of make soak; a SEED replays the choices of an earlier one.
SOAK     ?= 10m
LAUNCHES ?= 10000
SEED     ?= 0
SUITE    ?= bookworm
# The mirror that the template is built from; empty: the one that this machine's apt uses.
MIRROR   ?=
PACKAGES := python3,procps,ca-certificates

VERSION := $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git -c safe.directory='*' rev-parse --verify -q HEAD 2>/dev/null || echo unknown)

# Real sandboxes; libcontainer beside them with its seccomp filter.
TAGS := integration,seccomp

# sudo leaves the usual home of Go out of PATH.
export PATH := $(PATH):/usr/local/go/bin
export TEMPLATE
apt  = dpkg -s $(1) >/dev/null 2>&1 || { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(1); }
vm   = VM_CACHE=$(STATE)/vm go test -tags vm -count=1 -timeout 45m $(1) ./integration/vm
tool = go tool -modfile=.ci/tools.mod $(1)

.PHONY: help build run template test soak packages test-vm vm-packages unit lint vuln bench bench-template clean
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

build: ## build bin/hypervisor, one static binary
	go generate ./isolate/initbin ./isolate/selftest/probebin ./rootfs/mini
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/hypervisor ./cmd/hypervisor

run: build template ## run the daemon and a sample app, until Ctrl-C (root)
	unset TEMPLATE; exec bin/hypervisor demo --state-dir $(STATE)

template: $(TEMPLATE)/etc/os-release ## prepare the default template, once (root)
$(TEMPLATE)/etc/os-release: | build
	unset TEMPLATE; bin/hypervisor template build default --suite $(SUITE) --include $(PACKAGES) $(if $(MIRROR),--mirror '$(MIRROR)') --state-dir $(STATE)

test: packages vm-packages build lint template bin/prometheus bin/lxc ## every test, on real sandboxes (root)
	go test -race -count=1 -tags $(TAGS) -timeout 20m ./...
	go test -run '^$$' -fuzz FuzzUnpack -fuzztime 20s -fuzzminimizetime 20x ./rootfs # goroutines make coverage vary: minimizing would take all of the time
	go test -tags $(TAGS) -run '^$$' -bench Launch -benchtime 30x ./integration/oracle
	$(call vm,)

soak: packages build template ## chaos for SOAK=10m and LAUNCHES=10000 launches, and what is left of them; SEED=… replays (root)
	go test -race -count=1 -v -tags $(TAGS) -timeout 2h -run '^(TestSoak|TestFlat)$$' ./integration -args -soak=$(SOAK) -launches=$(LAUNCHES) -seed=$(SEED)

packages: # what the tests and benchmarks need
	$(call apt,gcc libc6-dev pkg-config libseccomp-dev runc crun bubblewrap libapparmor1 systemd squashfs-tools erofs-utils strace)

bin/prometheus: # a real one to be scraped by, without its service
	apt-get update && mkdir -p bin/deb && cd bin/deb && apt-get -o APT::Sandbox::User=root download prometheus
	dpkg-deb --fsys-tarfile bin/deb/prometheus_*.deb | tar -x -C bin --strip-components=3 ./usr/bin/prometheus ./usr/bin/promtool
	rm -r bin/deb

bin/lxc: # LXC to compare with, unpacked: to install it would start a bridge on the host
	rm -rf bin/lxc.new && mkdir -p bin/lxc.new/deb
	apt-get update && cd bin/lxc.new/deb && apt-get -o APT::Sandbox::User=root download lxc liblxc1 liblxc-common
	for deb in bin/lxc.new/deb/*.deb; do dpkg-deb -x $$deb bin/lxc.new || exit; done
	rm -r bin/lxc.new/deb && mv bin/lxc.new bin/lxc

test-vm: packages vm-packages build template ## those of sandboxes again, on Debian 12's kernel 6.1 with cgroup v2, in qemu (root)
	$(call vm,-v)

vm-packages: # what a virtual machine needs
	$(call apt,qemu-system-x86 e2fsprogs)

unit: build ## the tests that need no root
	go test ./...

lint: packages build ## gofmt, go vet, staticcheck
	test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet -tags $(TAGS),vm,builders ./...
	GOOS=darwin go vet ./isolate
	$(call tool,staticcheck) -tags $(TAGS),vm,builders ./...

vuln: build ## govulncheck, which asks vuln.go.dev
	$(call tool,govulncheck) ./...

bench: packages build template bin/lxc ## one table: a launch beside runc, crun, libcontainer, bwrap, LXC (root)
	go test -tags $(TAGS) -run '^$$' -bench Launch -benchtime 300x ./integration/oracle

bench-template: build template ## one table: a template's build beside debootstrap and mmdebstrap (root, network)
	$(call apt,debootstrap mmdebstrap debian-archive-keyring)
	go test -tags builders -run '^$$' -bench Template -benchtime 2x -timeout 1h ./integration/builders -args -suite=$(SUITE) -include=$(PACKAGES) -mirror='$(MIRROR)'

clean: ## remove what was built; the state folder stays
	rm -rf bin isolate/initbin/sandbox-init isolate/selftest/probebin/probe rootfs/mini/mini.* rootfs/mini/pack/userland
