# What the stand-in programs share: sh, no more than busybox and openssl have.
account=/var/run/secrets/kubernetes.io/serviceaccount
say() { echo "$(date +%H:%M:%S) ${name:-}: $*"; }
fail() { say "FATAL: $*" >&2; exit 1; }
need() { eval "[ -n \"\${$1:-}\" ]" || fail "$1 is not set"; }
need_file() { [ -r "$1" ] || fail "$1 is not there or may not be read by $(id -u):$(id -g)"; }
need_writable() { touch "$1/.probe" && rm "$1/.probe" || fail "$1 cannot be written by $(id -u):$(id -g)"; }
on_stop() { :; }
stop() { say "stopping"; on_stop; kill $(jobs -p) 2>/dev/null; exit 0; }
trap stop TERM INT QUIT
forever() { while :; do sleep 3600 & wait $!; done; }
# Answers each connection to a port by a program.
tcp() { port=$1; shift; nc -ll -p "$port" -e "$@" & }
http() { httpd -f -p "$1" -h /www & }
certificate() { # DIRECTORY NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" \
    -keyout "$1/tls.key" -out "$1/tls.crt" 2>/dev/null || fail "no certificate in $1"
}
https() { (cd /www && exec openssl s_server -quiet -WWW -accept "$1" -cert "$2/tls.crt" -key "$2/tls.key" </dev/null >/dev/null 2>&1) & }
# An HTTP request over TLS with the pod's token, the server's certificate checked: METHOD PATH [BODY]; prints the answer.
api() {
  request "$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT_HTTPS" "$@" -verify_return_error -CAfile $account/ca.crt -verify_hostname kubernetes.default.svc
}
request() { # HOST:PORT METHOD PATH BODY [OPENSSL OPTION…]
  to=$1 method=$2 path=$3 body=$4; shift 4
  printf '%s %s HTTP/1.0\r\nHost: kubernetes\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' \
    "$method" "$path" "$(cat $account/token)" "${#body}" "$body" | timeout 10 openssl s_client -quiet -connect "$to" "$@" 2>/tmp/tls || cat /tmp/tls >&2
}
status_of() { head -n 1 | cut -d ' ' -f 2; }
# A line to a server of ours, its answer: HOST PORT LINE
ask() { echo "$3" | timeout 3 nc -w 2 "$1" "$2" 2>/dev/null; }
