#!/bin/sh
# `npm run bench`: measures, and writes docs/benchmarks.md. Runs in a network namespace of its own, so that no packet leaves.
# Arguments name parts: start memory pods burst api service runtime; default: all.
DECKHAND_SETUP=--tests
cd "$(dirname "$0")/.." || exit 1
. tools/prepare.sh
name="dh-bench-$$"
ip netns add "$name" || exit 1
trap 'ip netns delete "$name"' EXIT
nsenter --net="/run/netns/$name" -- ip link set lo up
nsenter --net="/run/netns/$name" -- node_modules/.bin/node --disable-warning=ExperimentalWarning bench/main.ts "$@"
