#!/bin/sh
# `npm test`: set-up, check, unit tests, integration tests; the summary comes last. TESTS may name files to run instead of all.
cd "$(dirname "$0")/.." || exit 1
DECKHAND_SETUP=--tests
. tools/prepare.sh
exec node_modules/.bin/node --disable-warning=ExperimentalWarning tools/test.ts "$@"
