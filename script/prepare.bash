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
