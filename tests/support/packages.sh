# Sourced by quickstart, test and .ci/run: installs Debian packages of packages.txt that are missing.
#
#   install_packages GROUP...    groups as in packages.txt; asks first when ASK=1 and a terminal is there

install_packages() {
  local here groups missing=() sudo=() group name
  here=$(dirname "${BASH_SOURCE[0]}")
  groups=" $* "
  while read -r group name _; do
    [[ $group == '#'* || -z $group || $groups != *" $group "* ]] && continue
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done < "$here/packages.txt"
  [ ${#missing[@]} -gt 0 ] || return 0

  echo "Missing Debian packages: ${missing[*]}"
  if [ "${ASK:-0}" = 1 ] && [ -t 0 ]; then
    read -r -p "Install them with apt-get? [Y/n] " answer
    case $answer in [nN]*) echo "Nothing was installed." >&2; return 1 ;; esac
  fi
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Needs root or sudo for apt-get." >&2; return 1; }
    sudo=(sudo)
  fi
  # postgresql-common would otherwise make and start a cluster that nobody asked for.
  if [[ " ${missing[*]} " == *" postgresql "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
    "${sudo[@]}" mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | "${sudo[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update >/dev/null
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    "${missing[@]}" >/dev/null
}
