#!/bin/sh
# `CRITEST=/path/to/critest npm run test:critest [-- FLAGS]`: set-up, then critest against a fresh runtime. See docs/critest.md.
[ -n "$CRITEST" ] && case $CRITEST in /*) ;; *) CRITEST=$PWD/$CRITEST; export CRITEST ;; esac
cd "$(dirname "$0")/.." || exit 1
DECKHAND_SETUP=--tests
. tools/prepare.sh
exec node_modules/.bin/node --disable-warning=ExperimentalWarning test/conformance/critest/main.ts "$@"
