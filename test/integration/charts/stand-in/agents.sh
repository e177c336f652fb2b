# Monitoring, agents and controllers: most of them read the API from inside.
granted() { # PATH: the status that listing has
  api GET "$1" '' | status_of
}
until_granted() { until [ "$(granted "$1")" = 200 ]; do say "cannot list $1 yet"; sleep 1; done; say "listed $1"; }
prometheus() {
  need_file /etc/prometheus/config_out/prometheus.env.yaml
  need_writable /prometheus
  until_granted /api/v1/nodes
  http 9090
  mkdir -p /prometheus/wal; echo "$(hostname)" >> /prometheus/wal/00000000
}
config_reloader() {
  copy() { sed "s/\$(POD_NAME)/$POD_NAME/" /etc/prometheus/config/prometheus.yaml > /etc/prometheus/config_out/prometheus.env.yaml; }
  copy || fail "no configuration"
  case " $* " in *" --watch-interval=0 "*) say "configuration written"; exit 0 ;; esac
  http 8080
  while :; do
    now=$(readlink /etc/prometheus/config/..data)
    [ "$now" = "${before:-$now}" ] || { copy; say "configuration reloaded"; }
    before=$now
    sleep 0.2 & wait $!
  done
}
grafana() {
  need GF_SECURITY_ADMIN_USER; need GF_SECURITY_ADMIN_PASSWORD
  need_file /etc/grafana/grafana.ini
  need_file /var/lib/grafana/dashboards/default/node.json
  need_writable /var/lib/grafana
  http 3000
}
dashboard_sidecar() {
  while :; do
    answer=$(api GET "/api/v1/namespaces/$NAMESPACE/configmaps?labelSelector=$LABEL" '')
    case $answer in *'"kind":"ConfigMapList"'*) echo "$answer" | tail -n 1 > "$FOLDER/collected.json"; say "dashboards written" ;; esac
    sleep 2 & wait $!
  done
}
node_exporter() {
  [ -d /host/proc/1 ] || fail "no /host/proc"
  [ -e /host/root/etc/hostname ] || [ -e /host/root/etc ] || fail "no /host/root"
  touch /host/root/etc/.probe 2>/dev/null && fail "/host/root can be written"
  say "$(ls -d /host/proc/[0-9]* | wc -l) processes of the host, ours: $(ls -d /proc/[0-9]* | wc -l)"
  http 9100
}
fluent_bit() {
  need_file /fluent-bit/etc/fluent-bit.conf
  http 2020
  touch /var/lib/fluent-bit/tail.db || fail "no place for positions"
  while :; do
    for file in /var/log/pods/*/*/*.log; do
      at=$(grep -F "$file " /var/lib/fluent-bit/tail.db | tail -n 1 | cut -d ' ' -f 2)
      size=$(stat -c %s "$file" 2>/dev/null || echo 0)
      [ "$size" -gt "${at:-0}" ] || continue
      case $file in */fluent-bit/*) continue ;; esac
      tail -c +$((${at:-0} + 1)) "$file" | grep 'order [0-9]* shipped' | head -n 2
      echo "$file $size" >> /var/lib/fluent-bit/tail.db
    done
    sleep 1 & wait $!
  done
}
kube_state_metrics() {
  until_granted /api/v1/pods
  [ "$(granted /api/v1/namespaces/kube-system/secrets)" = 403 ] || fail "secrets can be listed"
  http 8080; http 8081
}
metrics_server() {
  certificate /tmp metrics-server
  node=$(api GET /api/v1/nodes '' | tail -n 1 | sed 's/.*{"address":"\([^"]*\)","type":"InternalIP"}.*/\1/; s/.*{"type":"InternalIP","address":"\([^"]*\)"}.*/\1/')
  lines=$(request "$node:10250" GET /metrics/resource '' | grep -c '^container_memory_working_set_bytes')
  say "scraped $lines containers of $node"
  [ "$lines" -gt 0 ] || fail "no figures from $node"
  https 10250 /tmp
}
lead() { # NAME: takes a lease, or finds it taken
  api POST "/apis/coordination.k8s.io/v1/namespaces/$POD_NAMESPACE/leases" \
    "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"holderIdentity\":\"$(hostname)\",\"leaseDurationSeconds\":60}}" | status_of
}
cert_manager_controller() { say "lease: $(lead cert-manager-controller)"; http 9402; http 9403; }
cert_manager_cainjector() { say "lease: $(lead cert-manager-cainjector)"; }
cert_manager_webhook() { certificate /tmp cert-manager-webhook; https 10250 /tmp; http 6080; }
startupapicheck() {
  for attempt in $(seq 30); do
    echo | timeout 3 openssl s_client -connect "cert-manager-webhook:443" 2>/dev/null | grep -q 'CN *= *cert-manager-webhook' && { say "the cert-manager API is ready"; exit 0; }
    sleep 0.5
  done
  fail "the webhook does not answer"
}
webhook_certgen() {
  verb=$1; shift
  for option; do case $option in --namespace=*) ns=${option#*=} ;; --secret-name=*) secret=${option#*=} ;; --webhook-name=*) hook=${option#*=} ;; esac; done
  case $verb in
    create)
      certificate /tmp ingress
      data="\"ca\":\"$(base64 -w 0 /tmp/tls.crt)\",\"cert\":\"$(base64 -w 0 /tmp/tls.crt)\",\"key\":\"$(base64 -w 0 /tmp/tls.key)\""
      made=$(api POST "/api/v1/namespaces/$ns/secrets" "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"$secret\"},\"data\":{$data}}" | status_of)
      say "secret: $made"; [ "$made" = 201 ] || [ "$made" = 409 ] || exit 1 ;;
    patch)
      got=$(granted "/api/v1/namespaces/$ns/secrets/$secret")
      say "secret: $got"; [ "$got" = 200 ] || exit 1 ;;
  esac
  exit 0
}
nginx_ingress_controller() {
  need_file /usr/local/certificates/key
  cp /usr/local/certificates/cert /tmp/tls.crt; cp /usr/local/certificates/key /tmp/tls.key
  need POD_NAME; need POD_NAMESPACE
  say "lease: $(lead ingress-nginx-leader)"
  until_granted /apis/networking.k8s.io/v1/ingresses
  http 10254; https 8443 /tmp; http 80; https 443 /tmp
}
