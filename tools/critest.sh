#!/bin/sh
# `CRITEST=/path/to/critest npm run test:critest [-- FLAGS]`: set-up, then critest against a fresh runtime. See docs/critest.md.
if [ -z "$CRITEST" ]; then
  echo "CRITEST is not set: build critest from kubernetes-sigs/cri-tools (make critest) and run CRITEST=/path/to/critest npm run test:critest" >&2
  exit 2
fi
if [ ! -f "$CRITEST" ] || [ ! -x "$CRITEST" ]; then
  echo "CRITEST is $CRITEST, which is not a program: name the critest binary of kubernetes-sigs/cri-tools" >&2
  exit 2
fi
case $CRITEST in /*) ;; *) CRITEST=$PWD/$CRITEST; export CRITEST ;; esac
cd "$(dirname "$0")/.." || exit 1
DECKHAND_SETUP=--tests
. tools/prepare.sh
exec node_modules/.bin/node --disable-warning=ExperimentalWarning test/conformance/critest/main.ts "$@"
