# Sourced by start.sh and test.sh: brings the npm packages and the Debian packages that are missing.
# DECKHAND_SETUP may hold more arguments for `deckhand setup` (test.sh asks for what the tests need).

fail() { echo "deckhand: $1" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || fail "Deckhand needs Linux, and this is $(uname -s): use a Linux machine or a virtual one"
[ "$(id -u)" = 0 ] || fail "Deckhand makes namespaces, mounts and firewall rules, which needs root: run it with sudo"

# The stamp is the lock file as it was when it was last installed.
if ! cmp -s package-lock.json node_modules/.deckhand-lock 2>/dev/null || [ ! -x node_modules/node/bin/node ]; then
  command -v npm >/dev/null || fail "npm is not installed: install Node.js 20 or newer with npm"
  echo "deckhand: installing npm packages (with Node $(sed -n 's/^    "node": "\(.*\)",*$/\1/p' package.json) of our own)"
  npm ci --no-fund --no-audit --loglevel=error || fail "npm ci failed: see its message above"
  [ -x node_modules/node/bin/node ] || npm rebuild node --loglevel=error || true
  [ -x node_modules/node/bin/node ] || fail "npm installed the package 'node' without its program: allow its install script (npm approve-scripts node) and run 'npm ci' again"
  cp package-lock.json node_modules/.deckhand-lock
fi
# shellcheck disable=SC2086
bin/deckhand setup --quiet $DECKHAND_SETUP || exit 1
