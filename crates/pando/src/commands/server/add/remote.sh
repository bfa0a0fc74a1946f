#!/bin/sh
# The part of `pando server add` that runs on the new machine. It comes over SSH, and whatever `sh` is there runs it: as the
# user who logged in for `probe`, as root for the rest.
#
#   probe                      tells what the machine is, a `name=value` each line; changes nothing
#   receive DIGEST             takes the program from stdin
#   unit NAME                  takes a unit of systemd from stdin
#   engine                     installs and starts Docker's engine, unless one answers; tells what was done
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
engine_socket=/var/run/docker.sock

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
    fact engine "$(engine_state)"
    fact packages "$(manager)"
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

# What the engine says of itself; fails when none answers.
engine_version() {
    [ -S "$engine_socket" ] || return 1
    if command -v docker >/dev/null 2>&1; then
        timeout 10 docker --host "unix://$engine_socket" version </dev/null 2>/dev/null
    elif command -v curl >/dev/null 2>&1; then
        curl --silent --fail --max-time 10 --unix-socket "$engine_socket" http://localhost/version </dev/null
    else
        # Nothing here can ask it.
        pidof dockerd
    fi
}

# `answers`, `podman` for another that listens in its place, `installed` when it does not run, `none`.
engine_state() {
    if said=$(engine_version); then
        case $said in
        *[Pp]odman*) printf 'podman' ;;
        *) printf 'answers' ;;
        esac
    elif command -v dockerd >/dev/null 2>&1; then
        printf 'installed'
    else
        printf 'none'
    fi
}

# What installs packages here; nothing when that is not known.
manager() {
    for tool in apt-get dnf yum zypper apk pacman; do
        if command -v "$tool" >/dev/null 2>&1; then
            printf '%s' "$tool"
            return 0
        fi
    done
}

# Runs a package manager, or what starts services; its words are kept, and told when it fails.
packages() {
    "$@" </dev/null >>"$words" 2>&1
}

packages_of_apt() {
    set -- docker.io
    # The engine can't start a container under AppArmor without its parser, nor pull an image without authorities.
    if grep -qs Y /sys/module/apparmor/parameters/enabled && ! command -v apparmor_parser >/dev/null 2>&1; then
        set -- "$@" apparmor
    fi
    if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then set -- "$@" ca-certificates; fi
    export DEBIAN_FRONTEND=noninteractive
    # A list that can't be renewed may still do; if not, the next line says so.
    packages apt-get -q -o DPkg::Lock::Timeout=120 update || true
    packages apt-get -qy -o DPkg::Lock::Timeout=120 --no-install-recommends install "$@" || return 1
    # Newer releases have the command apart. The engine does without it; people don't like to.
    if ! command -v docker >/dev/null 2>&1; then
        packages apt-get -qy -o DPkg::Lock::Timeout=120 --no-install-recommends install docker-cli || true
    fi
}

# Fedora calls it moby-engine, Docker's own repository docker-ce, Amazon docker; elsewhere `docker` is another name of Podman.
packages_of_dnf() {
    packages "$1" -y install moby-engine && return 0
    packages "$1" -y install docker-ce && return 0
    grep -qs '^ID="*amzn' /etc/os-release && packages "$1" -y install docker
}

install_packages() {
    case $1 in
    apt-get) packages_of_apt ;;
    dnf | yum) packages_of_dnf "$1" ;;
    zypper) packages zypper --non-interactive install docker ;;
    apk) packages apk add docker ;;
    pacman) packages pacman --sync --needed --noconfirm docker ;;
    esac
}

# With the reason, as far as the manager's words tell one.
not_installed() {
    away="could not resolve|couldn.t resolve|failed to resolve|temporary failure|could not connect|unreachable|timed out|connection failed|connection refused|no route|curl error|cannot initiate"
    if grep -Eqi "$away" "$words"; then
        grep -Ei "$away" "$words" | tail -n 6 >&2
        refuse "$1 can't reach its mirrors for Docker's engine: let this machine out to them, or install the engine by hand, and try again"
    fi
    tail -n 6 "$words" >&2
    if grep -Eqi "unable to locate|no match|no such package|not found|no installation candidate|no provider|unable to find" "$words"; then
        refuse "$1 knows no package of Docker's engine: add Docker's own repository (https://docs.docker.com/engine/install/) or install the engine by hand, and try again"
    fi
    refuse "$1 could not install Docker's engine; mend what it says, or install the engine by hand, and try again"
}

# Now, and with the machine from now on.
start_engine() {
    if has_systemd; then
        packages systemctl enable --now docker.service
    elif command -v rc-service >/dev/null 2>&1; then
        packages rc-update add docker default && packages rc-service docker start
    elif [ -x /etc/init.d/docker ]; then
        packages /etc/init.d/docker start
    else
        refuse "Docker's engine is installed, but nothing here starts services: start \`dockerd\`, let it start with the machine, and try again"
    fi
}

engine() {
    was=$(engine_state)
    by=$(manager)
    words=$(mktemp)
    trap 'rm -f "$words"' EXIT
    case $was in
    podman) refuse "what answers at $engine_socket is Podman, on which Pando's promises were not tried: remove it from there, and try again" ;;
    none)
        [ -n "$by" ] || refuse "there is no package manager here that Pando knows: install Docker's engine by hand, and try again"
        install_packages "$by" || not_installed "$by"
        ;;
    esac
    if [ "$was" != answers ]; then
        # Some packages start it themselves; then this changes nothing.
        start_engine || {
            tail -n 6 "$words" >&2
            refuse "Docker's engine does not start; mend what it says, and try again"
        }
        tries=0
        until [ "$(engine_state)" = answers ]; do
            tries=$((tries + 1))
            [ "$tries" -lt 120 ] || refuse "Docker's engine was started, and does not answer at $engine_socket within a minute: its log tells why"
            sleep 0.5
        done
    fi
    fact was "$was"
    fact by "$by"
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
probe | receive | unit | engine | join | restart | log) "$step" "$@" ;;
check) "$program" server join - --check ;;
*) refuse "there is no step $step" ;;
esac
