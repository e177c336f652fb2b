#!/bin/sh
# Types, format and lint, rooms. Prints what is wrong and exits 1 if anything is.
cd "$(dirname "$0")/.." || exit 2
status=0
node_modules/.bin/tsc -p . || status=1
node_modules/.bin/biome check --error-on-warnings . || status=1
node_modules/.bin/node tools/rooms.ts || status=1
exit $status
