# shellcheck shell=bash
# What the machine itself must have: packages of the distribution, and a Docker Engine with Compose and buildx; for the
# tests of a report's page a browser.
# Sourced by justw and images/base/bootstrap. It changes the machine only as root on Debian or Ubuntu, and never under
# LAB_NO_INSTALL=1.

engine_minimum=20.10
compose_minimum=2.26
patience_seconds=${JUSTW_PATIENCE_SECONDS:-60}
# Tests name another file, to see what happens on other distributions.
os_release=${JUSTW_OS_RELEASE:-/etc/os-release}

say() { echo "${0##*/}: $*" >&2; }

# fail WHAT [WHAT-HELPS...]: a set-up problem is exit code 5 (docs/setup.md).
fail() {
  say "$1"
  if (($# > 1)); then
    echo "This helps:" >&2
    printf '    %s\n' "${@:2}" >&2
  fi
  exit 5
}

# quietly COMMAND...: what it prints is shown only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
  fi
}

at_least() { [[ $(printf '%s\n' "$1" "$2" | sort --version-sort | head -n 1) == "$1" ]]; }

# release_of KEY: what the distribution says of itself.
release_of() {
  # shellcheck source=/dev/null
  (source "$os_release" 2>/dev/null && echo "${!1:-}")
}

# --- packages ---

is_forbidden() { [[ ${LAB_NO_INSTALL:-0} != 0 ]]; }
may_change() { [[ $(release_of ID) =~ ^(debian|ubuntu)$ && $(id -u) == 0 ]] && ! is_forbidden; }

# refuse WHAT COMMAND...: for where we must not change the machine; whoever may is given the commands of root.
refuse() {
  local what=$1 commands=("${@:2}")
  ! is_forbidden || what+=", and LAB_NO_INSTALL=$LAB_NO_INSTALL forbids to change that"
  [[ $(id -u) == 0 ]] || commands=("${commands[@]/#/sudo }")
  fail "$what" "${commands[@]}"
}

lists_are_new=""
update_lists() {
  [[ -z $lists_are_new ]] || return 0
  # One dead source among several need not matter: the installation will tell.
  quietly apt-get update || say "apt-get update failed; going on with the package lists that are here"
  lists_are_new=yes
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive quietly apt-get install --yes "$@" ||
    fail "could not install $*: the lines above say why"
}

# need_packages PACKAGE...
need_packages() {
  may_change || refuse "missing on this machine: $*" "apt-get update" "apt-get install $*"
  say "installing $* (LAB_NO_INSTALL=1 refuses)"
  update_lists
  apt_install --no-install-recommends "$@"
}

# need_browser: whichever chromium is here, and runs, will do. (Ubuntu's package is a stub that asks for snap.)
need_browser() {
  local name
  for name in google-chrome chromium chromium-browser; do ! "$name" --version >/dev/null 2>&1 || return 0; done
  [[ $(release_of ID) == debian ]] || refuse "no browser here" "a chromium or google-chrome that runs: Debian has one"
  need_packages chromium
}

# candidate PACKAGE: the version that apt would install; nothing where it knows none.
candidate() { apt-cache policy "$1" | sed --quiet '/(none)/d; s/^  Candidate: //p'; }

# uri_of RELEASE: where this machine gets that release of Debian or Ubuntu, whichever way its sources are written.
uri_of() {
  # shellcheck disable=SC2016  # apt fills these in
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
    awk -v release="$1" '$1 == release && $2 == "main" && !uri { uri = $3 } END { sub("/$", "", uri); print uri }'
}

# --- the engine ---

server_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }
has_plugin() {
  local version
  case $1 in
    compose) version=$(docker compose version --short 2>/dev/null) && at_least "$compose_minimum" "${version#v}" ;;
    buildx) docker buildx version >/dev/null 2>&1 ;;
  esac
}

need_engine() {
  local version plugin lacking=()
  if ! version=$(server_version); then
    bring_engine
    version=$(server_version)
  fi
  at_least "$engine_minimum" "$version" ||
    fail "Docker Engine $version is older than $engine_minimum" "a later one: docs.docker.com/engine/install"
  for plugin in compose buildx; do has_plugin "$plugin" || lacking+=("$plugin"); done
  ((${#lacking[@]} == 0)) || bring_plugins "${lacking[@]}"
}

refuse_engine() {
  local again commands
  again="${LAB_NO_INSTALL:+env --unset=LAB_NO_INSTALL }$(printf %q "$root/justw") --engine"
  commands=("$again    # installs what is missing")
  case $(release_of ID)-$(release_of VERSION_ID) in
    debian-12) ;; # by hand it takes more than a command: see fetch_from_next_release
    debian-*) commands+=("apt-get install docker.io docker-cli docker-compose docker-buildx    # or this, by hand") ;;
    ubuntu-*) commands+=("apt-get install docker.io docker-compose-v2 docker-buildx    # or this, by hand") ;;
    *) fail "$1" "Docker Engine, with Compose $compose_minimum or later and buildx: docs.docker.com/engine/install" ;;
  esac
  refuse "$1" "${commands[@]}"
}

bring_engine() {
  [[ -z ${DOCKER_HOST:-} ]] || fail "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST" "unset DOCKER_HOST"
  [[ $(docker version 2>&1) != *"permission denied"* ]] ||
    fail "this user may not talk to the Docker Engine" \
      "sudo usermod --append --groups docker $(id --user --name)" "newgrp docker    # or log in again"
  if command -v dockerd >/dev/null; then
    may_change || refuse "the Docker Engine does not answer" "$(start_command)"
    say "the Docker Engine does not answer: starting it (LAB_NO_INSTALL=1 refuses)"
  else
    may_change || refuse_engine "no Docker Engine answers here"
    say "no Docker Engine answers: installing the distribution's and starting it (LAB_NO_INSTALL=1 refuses)"
    update_lists
    local client # a package of its own since Debian 13
    client=$(candidate docker-cli)
    apt_install docker.io ${client:+docker-cli}
  fi
  start_engine
}

has_systemd() { [[ -d /run/systemd/system ]]; }
start_command() { if has_systemd; then echo "systemctl start docker"; else echo "service docker start"; fi; }

start_engine() {
  local log
  # shellcheck disable=SC2046  # a command and its words
  if quietly $(start_command) && wait_for_engine; then return; fi
  if ! has_systemd; then
    log=$(mktemp --suffix=-dockerd.log)
    say "its init script could not: starting the daemon itself, which logs to $log"
    setsid dockerd >"$log" 2>&1 </dev/null &
    wait_for_engine && return
    tail -n 20 "$log" >&2
  fi
  fail "the Docker Engine was started, but did not answer within $patience_seconds s" \
    "dockerd    # by hand: it says why"
}

wait_for_engine() {
  local deadline=$((SECONDS + patience_seconds))
  until server_version >/dev/null; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# bring_plugins compose|buildx...: to the engine that is here, from where this machine gets its packages.
bring_plugins() {
  local plugin package packages=() absent=() place
  may_change || refuse_engine "the Docker engine's command lacks, or has too old: $*"
  say "installing $* for the Docker Engine (LAB_NO_INSTALL=1 refuses)"
  update_lists
  for plugin; do
    package=$(package_of "$plugin")
    if [[ $package ]]; then packages+=("$package"); else absent+=("docker-$plugin"); fi
  done
  if ((${#absent[@]})); then
    place=$(mktemp -d)
    fetch_from_next_release "$place" "${absent[@]}"
    packages+=("$place"/*.deb)
  fi
  apt_install --no-install-recommends "${packages[@]}"
  rm -rf "${place:-}"
  for plugin; do
    has_plugin "$plugin" || fail "docker $plugin is not there, or too old, after the installation of ${packages[*]}"
  done
}

# package_of PLUGIN: the package that fits this engine and is new enough, if apt knows one. Docker's own packages,
# Ubuntu's and Debian's have three ways to name it.
package_of() {
  local package version minimum=0 names=("docker-$1-v2" "docker-$1")
  [[ $1 != compose ]] || minimum=$compose_minimum
  ! dpkg --status docker-ce-cli >/dev/null 2>&1 || names=("docker-$1-plugin")
  for package in "${names[@]}"; do
    version=$(candidate "$package")
    if [[ $version ]] && at_least "$minimum" "$version"; then echo "$package" && return; fi
  done
}

# fetch_from_next_release FOLDER PACKAGE...: Debian 12 has neither Compose 2 nor buildx, but runs the packages of 13.
# apt reads a source of its own for that, kept nowhere, so that the machine never comes to follow that release.
fetch_from_next_release() {
  local place=$1 release uri options
  release=$(release_of VERSION_CODENAME)
  [[ $release == bookworm ]] ||
    fail "no package here has what the Docker Engine lacks: ${*:2}" "docs.docker.com/engine/install"
  uri=$(uri_of "$release")
  [[ $uri ]] || fail "apt has no source for $release: where to get ${*:2} is not known"
  mkdir -p "$place"/lists/partial "$place"/cache/archives/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >"$place/next.list"
  options=(--option "Dir::Etc::SourceList=$place/next.list" --option Dir::Etc::SourceParts=/dev/null
    --option "Dir::State::Lists=$place/lists" --option "Dir::Cache=$place/cache" --option APT::Sandbox::User=root)
  quietly apt-get "${options[@]}" update ||
    fail "could not read the package lists of Debian 13: the lines above say why"
  (cd "$place" && quietly apt-get "${options[@]}" download "${@:2}") ||
    fail "could not get ${*:2} of Debian 13: the lines above say why"
}
