#!/bin/sh
# Runs a command against a throwaway PostgreSQL: storage/tests/with-postgres.sh COMMAND…
#
# Makes a cluster in a temporary directory (fsync on, TLS with a certificate of its own authority), starts it on a free
# port of 127.0.0.1, and ends it with the command. The command finds it in CHATROOM_TEST_POSTGRES (a DSN that may create
# databases and change settings) and the authority's certificate in CHATROOM_TEST_POSTGRES_CA.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 COMMAND…" >&2; exit 2; }

fail() { echo "with-postgres: $*" >&2; exit 1; }

# Debian keeps the server's programs out of the path.
newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
PATH="${newest:+$newest:}$PATH"
for program in initdb pg_ctl psql openssl; do
    command -v "$program" >/dev/null || fail "$program is missing: install postgresql and openssl"
done

home=$(mktemp -d /tmp/chatroom-postgres.XXXXXX)
# The server refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || fail "run it as an ordinary user, or add a user named postgres"
    chown postgres "$home"
    as() { setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups "$@"; }
else
    as() { "$@"; }
fi

finish() {
    status=$?
    trap - EXIT
    as pg_ctl -D "$home/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$home"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

password=$(openssl rand -hex 12)
printf '%s\n' "$password" > "$home/password"
[ "$(id -u)" != 0 ] || chown postgres "$home/password"
(cd "$home" && as initdb -D data -U chatroom --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --pwfile=password >/dev/null) || fail "initdb failed"

(cd "$home" && as sh -c '
    umask 077
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=ChatRoom test authority" \
        -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout data/server.key -out server.csr
    printf "subjectAltName=DNS:localhost\n" > names
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out data/server.crt
    chmod 644 ca.crt
' >openssl.log 2>&1) || { cat "$home/openssl.log" >&2; fail "no certificate could be made"; }
chmod 755 "$home"

tries=0
while :; do
    port=$(awk -v seed="$$$tries" 'BEGIN { srand(seed); print 20000 + int(rand() * 20000) }')
    cat > "$home/data/postgresql.auto.conf" <<EOF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$home'
ssl = on
fsync = on
synchronous_commit = on
max_connections = 200
log_min_messages = fatal
EOF
    if as pg_ctl -D "$home/data" -l "$home/data/log" -w -t 60 start >/dev/null 2>&1; then break; fi
    tries=$((tries + 1))
    [ "$tries" -lt 5 ] || { cat "$home/data/log" >&2; fail "the server does not start"; }
done

CHATROOM_TEST_POSTGRES="postgres://chatroom:$password@localhost:$port/postgres"
CHATROOM_TEST_POSTGRES_CA="$home/ca.crt"
export CHATROOM_TEST_POSTGRES CHATROOM_TEST_POSTGRES_CA
"$@"
