# Picket. `make help` lists the targets. Logic lives in Go and npm scripts.
PICKET_DATA   ?= ./data
PICKET_LISTEN ?= 127.0.0.1:8443
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0)
LDFLAGS       := -s -w -X github.com/picket-edr/picket.Version=$(VERSION)
STATIC        := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"
export PICKET_DATA PICKET_LISTEN

.PHONY: help run build test check generate web e2e bench package setup-run setup-test setup-generate

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: setup-run build ## build what is missing, start server, portal and (as root) this host's sensor
	@bin/picketd run --data "$(PICKET_DATA)" --listen "$(PICKET_LISTEN)" --local-sensor bin/picket-sensor

build: web ## build bin/picketd, bin/picket, bin/picket-sensor
	@mkdir -p bin
	@go build -trimpath -ldflags "$(LDFLAGS)" -o bin/picketd ./cmd/picketd
	@$(STATIC) -o bin/picket ./cmd/picket
	@$(STATIC) -o bin/picket-sensor ./cmd/picket-sensor
	@cd bin && ln -sf picket-sensor picket-sensor-linux-$$(go env GOARCH)

web: setup-run ## build the portal
	@go run ./internal/setup web

test: setup-test build ## run all tests: Go with the race detector, portal, browser
	go test -race -p 1 -timeout 30m ./...
	cd web && npx vitest run
	$(MAKE) --no-print-directory e2e

e2e: setup-test build ## run the browser tests with the real sensor, server and Chromium
	PICKET_E2E=1 go test -count=1 -timeout 15m ./internal/e2e

check: setup-test web ## lint, layers, generated code, other platforms
	go run ./internal/setup check

generate: setup-generate ## derive code from schema, protocol, BPF and API
	go run ./internal/setup generate

bench: setup-test build ## run the benchmarks of docs/benchmarks.md
	go run ./internal/setup bench

package: build ## build packages of server and sensor into dist/
	VERSION="$(VERSION)" go run ./internal/setup package

setup-run setup-test setup-generate:
	@go run ./internal/setup needs $(subst setup-,,$@)
