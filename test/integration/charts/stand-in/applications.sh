# What users run themselves.
wordpress() {
  need WORDPRESS_DB_HOST; need WORDPRESS_DB_PASSWORD
  [ "$(ask "${WORDPRESS_DB_HOST%:*}" "${WORDPRESS_DB_HOST#*:}" PING)" = PONG ] || fail "error establishing a database connection"
  need_writable /var/www/html
  echo "installed by $(hostname)" >> /var/www/html/wp-config.php
  ask "${WORDPRESS_DB_HOST%:*}" "${WORDPRESS_DB_HOST#*:}" "SET siteurl http://blog.example" >/dev/null
  http 8080
}
memcached() { tcp 11211 /usr/local/bin/store /tmp; }
proxy() { need_file /etc/proxy/proxy.yaml; tcp 15021 /usr/local/bin/store /tmp; date +%s > /tmp/started; }
webapp() {
  need_file /app/config/application.yaml; need DATABASE_URL; need FEATURE_NEW; need API_TOKEN
  [ "$(ask 127.0.0.1 15021 PING)" = PONG ] || fail "the proxy beside is not there yet"
  need_writable /app/log
  http 8080
  tcp 9000 /usr/local/bin/grpc-health
  (i=0; while :; do i=$((i + 1)); echo "order $i shipped" >> /app/log/app.log; sleep 1; done) &
}
exporter() { http "${1:-9187}"; }
curl() { # the few options that scripts use
  out=-; url=
  while [ $# -gt 0 ]; do case $1 in -o) out=$2; shift ;; http*) url=$1 ;; esac; shift; done
  exec wget -q -O "$out" "$url"
}
