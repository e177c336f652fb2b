#!/bin/sh
# `npm start`: installs what is missing, then starts the node with the demo. Works with any Node from 20 on.
cd "$(dirname "$0")/.." || exit 1
. tools/prepare.sh
exec bin/deckhand up --demo "$@"
