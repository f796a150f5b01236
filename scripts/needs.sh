# What the commands at the root need on a machine, and how it is put there. Sourced, not run.
#
# Each function looks first and installs only what is missing, with the system's package manager, and
# says so before it does.

say() {
  printf '%s\n' "$*" >&2
}

fail() {
  say "$0: $*"
  exit 1
}

# Runs a command as root, by sudo where that is needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    fail "this needs root: $*"
  fi
}

# install_packages WHAT APT DNF BREW: installs a package under its name in the manager that is there.
install_packages() {
  say "installing $1 with the system's package manager"
  if command -v apt-get >/dev/null 2>&1; then
    if [ -z "${apt_is_fresh:-}" ]; then
      as_root apt-get update -qq >/dev/null
      apt_is_fresh=yes
    fi
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $2 \
      >/dev/null
  elif command -v dnf >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    as_root dnf install -y -q $3
  elif command -v brew >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    brew install --quiet $4
  else
    fail "$1 is missing, and neither apt-get, dnf nor brew is there to install it"
  fi
}

# need_space GIB WHAT: room on the disk for a first build, which fails in odd ways without it.
need_space() {
  [ ! -d "${CARGO_TARGET_DIR:-target}" ] || return 0
  free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
  case $free_kib in
    '' | *[!0-9]*) return ;;
  esac
  [ "$free_kib" -ge $(($1 * 1024 * 1024)) ] \
    || fail "$2 needs about $1 GiB of disk space here, and $((free_kib / 1024 / 1024)) GiB are free"
}

need_compiler() {
  command -v cc >/dev/null 2>&1 && return
  install_packages "a C compiler" "gcc libc6-dev" "gcc glibc-devel" "gcc"
}

# Rust as rust-version of Cargo.toml wants it, or newer.
need_rust() {
  [ -r "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
  wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
  if ! command -v cargo >/dev/null 2>&1; then
    if ! command -v rustup >/dev/null 2>&1; then
      install_packages "rustup" "rustup" "rustup" "rustup" || true
    fi
    command -v rustup >/dev/null 2>&1 || command -v rustup-init >/dev/null 2>&1 \
      || fail "Rust $wanted or newer is missing; https://rustup.rs says how to install it"
    if command -v rustup >/dev/null 2>&1; then
      rustup default stable >&2
    else
      rustup-init -y --profile minimal >&2
      . "$HOME/.cargo/env"
    fi
  fi
  found=$(rustc --version | cut -d ' ' -f 2)
  oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)
  [ "$oldest" = "$wanted" ] || fail "Rust $found is too old: $wanted or newer is wanted (rustup update)"
}

need_rust_tools() {
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt >&2
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy >&2
}

need_redis() {
  command -v redis-server >/dev/null 2>&1 && return
  # The package's own service would take the standard port for itself.
  install_packages "Redis" "redis-server" "redis" "redis"
  if command -v systemctl >/dev/null 2>&1; then
    as_root systemctl disable --now redis-server >/dev/null 2>&1 || true
  fi
}

need_postgres() {
  for folder in $(printf '%s' "$PATH" | tr ':' ' ') /usr/lib/postgresql/*/bin \
    /opt/homebrew/opt/postgresql@*/bin; do
    [ -x "$folder/initdb" ] && return
  done
  install_packages "PostgreSQL" "postgresql" "postgresql-server" "postgresql@17"
}

# Python 3.10 or newer with venv: for generated Python projects.
need_python() {
  if ! command -v python3 >/dev/null 2>&1; then
    install_packages "Python" "python3 python3-venv" "python3" "python@3.13"
  fi
  if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
    install_packages "Python's venv" "python3-venv" "python3" "python@3.13"
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "$(python3 --version) is too old: 3.10 or newer is wanted"
}

# Node.js 20 or newer with npm: for generated TypeScript projects.
need_node() {
  if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    install_packages "Node.js" "nodejs npm" "nodejs npm" "node"
  fi
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' \
    || fail "Node.js $(node --version) is too old: 20 or newer is wanted"
}
