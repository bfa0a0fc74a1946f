#!/bin/sh
# The part of `pando server add` that runs on the new machine. It comes over SSH, and whatever `sh` is there runs it: as the
# user who logged in for `probe`, as root for the rest.
#
#   probe                      tells what the machine is, a `name=value` each line; changes nothing
#   receive DIGEST             takes the program from stdin
#   unit NAME                  takes a unit of systemd from stdin
#   check                      takes a join word from stdin: can the control plane be reached from here?
#   join NAME PRIVATE PUBLIC   takes a join word from stdin, joins and starts the daemon; `-` for what is not given
#   restart                    starts the daemon of a server that joined before, with the program that is here now
#   log                        tells the daemon's last words
#
# Every step may be repeated. What it refuses, it tells in a line that begins with `pando: `, and ends with status 70.
set -eu
umask 022
export LC_ALL=C
export PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"

program=/usr/local/bin/pando
state=/var/lib/pando
units=/etc/systemd/system

refuse() {
    printf 'pando: %s\n' "$1" >&2
    exit 70
}

fact() {
    printf '%s=%s\n' "$1" "$2"
}

digest_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# Kilobytes that are free where a path is, or will be.
room() {
    place=$1
    while [ ! -d "$place" ]; do
        place=$(dirname "$place")
    done
    df -Pk "$place" | awk 'NR == 2 { print $4 }'
}

# Who listens on a TCP port: a program's name, `?` when it can't be told, nothing when nobody does.
listener() {
    hex=$(printf '%04X' "$1")
    if ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:[0-9A-F]* 0A"; then
        return 0
    fi
    name=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | head -n 1) || name=
    printf '%s' "${name:-?}"
}

# How this user becomes root.
way_to_root() {
    if [ "$(id -u)" -eq 0 ]; then
        printf 'root'
    elif ! command -v sudo >/dev/null 2>&1; then
        printf 'none'
    elif sudo -n true 2>/dev/null; then
        printf 'sudo'
    else
        printf 'password'
    fi
}

has_systemd() {
    [ -d /run/systemd/system ]
}

addresses() {
    { ip -o addr show 2>/dev/null || true; } | awk '{ sub(/\/.*/, "", $4); printf "%s ", $4 }'
}

probe() {
    fact system "$(uname -s)"
    fact machine "$(uname -m)"
    fact host "$(uname -n)"
    fact user "$(id -un)"
    fact root "$(way_to_root)"
    if has_systemd; then fact systemd yes; else fact systemd no; fi
    if command -v sha256sum >/dev/null 2>&1; then fact sha256sum yes; else fact sha256sum no; fi
    if [ -f "$program" ] && [ -r "$program" ]; then fact digest "$(digest_of "$program")"; fi
    fact room_program "$(room "$program")"
    fact room_state "$(room "$state")"
    fact addresses "$(addresses)"
    fact port_7421 "$(listener 7421)"
    fact port_80 "$(listener 80)"
    if [ -r "$state/server.json" ]; then
        fact server "$(sed -n 's/.*"id"[^"]*"\([0-9a-f-]*\)".*/\1/p' "$state/server.json" | head -n 1)"
    fi
}

receive() {
    mkdir -p "$(dirname "$program")"
    new=$program.new
    trap 'rm -f "$new"' EXIT
    cat >"$new" || refuse "the program can't be written to $new: is the disk full, or read-only?"
    [ "$(digest_of "$new")" = "$1" ] || refuse 'the program arrived damaged; try again'
    chmod 755 "$new"
    "$new" version >/dev/null || refuse 'the program does not run here: is it built for this system?'
    # In one step: whoever starts it has either the old one or the new one, whole.
    mv "$new" "$program"
}

unit() {
    case $1 in
    pando.service) ;;
    *) refuse "$1 is no unit of Pando" ;;
    esac
    new=$units/.$1.new
    trap 'rm -f "$new"' EXIT
    cat >"$new" || refuse "the unit can't be written to $new: is the disk full, or read-only?"
    chmod 644 "$new"
    mv "$new" "$units/$1"
    systemctl daemon-reload
}

# The load balancer's own user, who owns nothing but it.
make_user() {
    id pando-proxy >/dev/null 2>&1 && return 0
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pando-proxy ||
        refuse 'the user pando-proxy could not be made'
}

join() {
    make_user
    set -- server join - "--name=$1" "--private-ip=$2" "--public-ip=$3"
    # Whatever was not given is left out.
    for word in "$@"; do
        shift
        case $word in
        *=-) ;;
        *) set -- "$@" "$word" ;;
        esac
    done
    "$program" "$@"
}

restart() {
    make_user
    if has_systemd; then
        systemctl enable pando.service
        systemctl restart pando.service
        return 0
    fi
    # Its keeper starts it again at once, with the program that is there now.
    held=$(tr -d ' \n' <"$state/keep/daemon/state.json" 2>/dev/null) || held=
    pid=$(printf '%s\n' "$held" | sed -n 's/.*"child":{"pid":\([0-9]*\).*/\1/p')
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
    fi
    "$program" server start
}

log() {
    if has_systemd; then
        journalctl --unit pando.service --lines 15 --no-pager --output cat
    else
        tail -n 15 "$state/log/daemon.log"
    fi
}

step=$1
shift
case $step in
probe | receive | unit | join | restart | log) "$step" "$@" ;;
check) "$program" server join - --check ;;
*) refuse "there is no step $step" ;;
esac
