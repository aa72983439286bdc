# `list` says what is installed, one line each: KIND FACTS. It reads only, and starts programs only where a file does not tell:
# this runs before and after every run.
lines() { # KIND FILE SEPARATOR: the first word of every line
  local first
  [ -r "$2" ] && while IFS=$3 read -r first _; do printf '%s %s\n' "$1" "$first"; done <"$2"
}
npm_package() { # DIRECTORY: its version is on the first line of package.json that names one
  local line
  while IFS= read -r line; do
    if [[ $line =~ \"version\":\ *\"([^\"]*)\" ]]; then
      printf 'npm %s %s\n' "${BASH_REMATCH[1]}" "$1"
      return
    fi
  done <"$1/package.json"
}
npm_prefix() {
  local line
  [ -r "$HOME/.npmrc" ] && while IFS= read -r line; do
    [[ $line =~ ^prefix\ *=\ *(.*) ]] && printf -v prefix %s "${BASH_REMATCH[1]}"
  done <"$HOME/.npmrc"
}
list() {
  local d p prefix=
  printf 'home %s\n' "$HOME"
  for d in "$HOME"/.local/lib/python*/site-packages /usr/local/lib/python*/*-packages "${VIRTUAL_ENV:-/nowhere}"/lib/python*/site-packages; do
    for p in "$d"/*.dist-info; do [ -d "$p" ] && printf 'pip %s\n' "$p"; done
  done
  npm_prefix
  for d in "${prefix:-/nowhere}" /usr/local /usr "$HOME"/.npm-global "$HOME"/.nvm/versions/node/*; do
    for p in "$d"/lib/node_modules/*/package.json "$d"/lib/node_modules/@*/*/package.json; do
      [ -f "$p" ] && npm_package "${p%/package.json}"
    done
  done
  for p in "$HOME"/.local/share/pipx/venvs/*; do [ -d "$p" ] && printf 'pipx %s\n' "${p##*/}"; done
  for d in "$HOME"/.local/bin "$HOME"/bin "$HOME"/.cargo/bin "$HOME"/go/bin /usr/local/bin /usr/local/sbin; do
    for p in "$d"/*; do [ -e "$p" ] && printf 'program %s\n' "$p"; done
  done
  for p in /etc/systemd/system/*.service "$HOME"/.config/systemd/user/*.service; do [ -e "$p" ] && printf 'unit %s\n' "$p"; done
  for d in "$HOME" "$HOME"/.local/{share,lib,opt} /opt /usr/local/{lib,share}; do
    for p in "$d"/* "$d"/.[!.]*; do
      case $p in "$HOME"/.local | "$HOME"/.config | "$HOME"/.cache | "$HOME"/.local/share/skillrun) continue ;; esac
      [ -d "$p" ] && [ ! -L "$p" ] && printf 'directory %s\n' "$p"
    done
  done
  lines user /etc/passwd :
  [ -e /lib/apk/db/installed ] && sed -n 's/^P:/apk /p' /lib/apk/db/installed
  command -v rpm >/dev/null && [ ! -e /var/lib/dpkg/status ] && rpm -qa --qf 'rpm %{NAME} %{VERSION}-%{RELEASE}\n'
  command -v brew >/dev/null && brew list --versions 2>/dev/null | sed 's/^/brew /'
}
