# Sourced by start.sh, test.sh and bench.sh: brings the npm packages and the Debian packages that are missing.
# DECKHAND_SETUP=--tests also brings what only the tests and checks need.

fail() { echo "deckhand: $1" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || fail "Deckhand needs Linux, and this is $(uname -s): use a Linux machine or a virtual one"
[ "$(id -u)" = 0 ] || fail "Deckhand makes namespaces, mounts and firewall rules, which needs root: run it with sudo"

# A stamp is the lock file as it was when it was last installed; one for what runs, one with the development tools.
current() { cmp -s package-lock.json "node_modules/.deckhand-$1" 2>/dev/null && [ -x node_modules/node/bin/node ]; }

if [ "$DECKHAND_SETUP" = --tests ]; then kinds=all; omit=; else kinds='run all'; omit=--omit=dev; fi
installed=
for kind in $kinds; do current "$kind" && installed=yes; done
if [ -z "$installed" ]; then
  command -v npm >/dev/null || fail "npm is not installed: install Node.js 20 or newer with npm"
  echo "deckhand: installing npm packages, a pinned Node among them"
  # Not `npm ci`: that fails where a registry lacks the packages of other platforms, which nobody needs here.
  # shellcheck disable=SC2086
  npm install --no-save $omit --no-fund --no-audit --loglevel=error || fail "npm install failed: see its message above"
  [ -x node_modules/node/bin/node ] || npm rebuild node --loglevel=error || true
  [ -x node_modules/node/bin/node ] || fail "npm installed the package 'node' without its program: allow its install script (npm approve-scripts node) and try again"
  cp package-lock.json "node_modules/.deckhand-${kinds##* }"
  [ -n "$omit" ] && mv node_modules/.deckhand-all node_modules/.deckhand-run
fi
# shellcheck disable=SC2086
bin/deckhand setup --quiet $DECKHAND_SETUP || exit 1
