# Databases and brokers: each keeps what it is told in the directory that its chart gives it.
serve_store() { # PORT DIRECTORY
  mkdir -p "$2" || fail "no directory $2"
  [ ! -e "$2/.running" ] && [ -e "$2/.started" ] && say "data of a clean shutdown"
  [ -e "$2/.running" ] && say "data of a crash"
  touch "$2/.started" "$2/.running"
  store=$2
  on_stop() { sleep 0.3; rm "$store/.running"; say "shut down cleanly"; }
  tcp "$1" /usr/local/bin/store "$2"
  say "ready to accept connections on $1"
}
init_scripts() { # DIRECTORY, when the data is new
  for one in "$1"/*; do
    case $one in
      *.sh) say "running $one"; if [ -x "$one" ]; then "$one"; else . "$one"; fi || fail "$one failed" ;;
      *.sql) say "running $one"; while read -r verb key value; do [ "$verb" = SET ] && echo "$value" > "$data/$key"; done < "$one" ;;
    esac
  done
}
postgres() {
  [ "$(id -u)" != 0 ] || fail "the server must not be run by root"
  [ -n "${POSTGRES_PASSWORD:-}" ] || { need POSTGRES_PASSWORD_FILE; need_file "$POSTGRES_PASSWORD_FILE"; }
  need_writable /var/run/postgresql
  data=$PGDATA/base
  if [ ! -e "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$data" && chmod 700 "$PGDATA" && echo 16 > "$PGDATA/PG_VERSION" || fail "cannot initialize $PGDATA"
    export data
    init_scripts /docker-entrypoint-initdb.d
  else say "skipping initialization"; fi
  serve_store 5432 "$data"
}
mysqld() {
  need MYSQL_ROOT_PASSWORD
  need_file /etc/mysql/conf.d/my.cnf
  data=/var/lib/mysql/base
  if [ ! -d "$data" ]; then mkdir -p "$data" || fail "no $data"; export data; init_scripts /docker-entrypoint-initdb.d; fi
  serve_store 3306 "$data"
}
redis_server() {
  case " $* " in *" --replicaof "*) export ROLE=slave ;; esac
  need_file "$1"
  grep -q '^dir ' "$1" || fail "no dir in $1"
  serve_store "${REDIS_PORT:-6379}" "$(sed -n 's/^dir //p' "$1")"
}
rabbitmq_server() {
  cookie=/var/lib/rabbitmq/.erlang.cookie
  need_file $cookie
  [ "$(stat -L -c %a $cookie)" = 400 ] || fail "the cookie file must be accessible by owner only, not $(stat -L -c %a $cookie)"
  case $RABBITMQ_NODENAME in rabbit@*.*.svc.*) ;; *) fail "bad node name $RABBITMQ_NODENAME" ;; esac
  peers=$(api GET "/api/v1/namespaces/$MY_POD_NAMESPACE/endpoints/$K8S_SERVICE_NAME" '')
  say "peer discovery: $(echo "$peers" | status_of)"
  nslookup "${RABBITMQ_NODENAME#rabbit@}" >/dev/null 2>&1 && say "name ${RABBITMQ_NODENAME#rabbit@} is known"
  http 15692
  serve_store 5672 "/var/lib/rabbitmq/mnesia/$MY_POD_NAME"
}
elasticsearch() {
  [ "$(id -u)" = 1000 ] || fail "can not run as $(id -u)"
  [ "$(sysctl -n vm.max_map_count)" -ge "${MAP_COUNT:-65530}" ] || fail "max virtual memory areas vm.max_map_count is too low"
  need_writable /usr/share/elasticsearch/data
  need_file /usr/share/elasticsearch/config/elasticsearch.yml
  http 9200
  serve_store 9300 /usr/share/elasticsearch/data/nodes
}
kafka() {
  need_file /opt/kafka/config/server.properties
  grep -q "^node.id=${HOSTNAME##*-}$" /opt/kafka/config/server.properties || fail "node.id is not that of $HOSTNAME"
  need_file /opt/kafka/secrets/password
  tcp 9093 /usr/local/bin/store /tmp
  serve_store 9092 "$(sed -n 's/^log.dirs=//p' /opt/kafka/config/server.properties)"
}
minio() {
  need MINIO_ROOT_USER; need MINIO_ROOT_PASSWORD
  for drive in /export*; do need_writable "$drive"; echo "$(hostname)" > "$drive/format.json"; done
  say "$(ls -d /export* | wc -l) drives online"
  http 9001
  mkdir -p /export0/buckets
  tcp 9002 /usr/local/bin/store /export0/buckets
  http 9000
}
vault() {
  state=/home/vault/unsealed
  case "$1 ${2:-}" in
    "status "*) [ -e $state ] && { echo "Sealed false"; exit 0; }; echo "Sealed true"; exit 2 ;;
    "operator unseal") touch $state; echo "Sealed false"; exit 0 ;;
    "operator raft"*) exit 0 ;;
  esac
  rm -f $state
  need_file /vault/config/extraconfig-from-values.hcl
  need VAULT_API_ADDR; need POD_IP
  case $VAULT_API_ADDR in "http://$POD_IP:8200") ;; *) fail "bad address $VAULT_API_ADDR" ;; esac
  need_writable /vault/data
  grep -q ' /home/vault tmpfs' /proc/mounts || fail "/home/vault is on disk"
  http 8201
  http 8200
}
