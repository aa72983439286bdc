# Lists what is installed, one line each: KIND FACTS. Reads only; the list goes to a file whose name is printed.
f=$(mktemp) || exit 1
{
  printf 'home %s\n' "$HOME"
  for d in "$HOME"/.local/lib/python*/site-packages /usr/local/lib/python*/*-packages "${VIRTUAL_ENV:-/nowhere}"/lib/python*/site-packages; do
    for p in "$d"/*.dist-info; do [ -d "$p" ] && printf 'pip %s\n' "$p"; done
  done
  prefix=$(sed -n 's/^prefix *= *//p' "$HOME/.npmrc" 2>/dev/null)
  for d in "${prefix:-/nowhere}" /usr/local /usr "$HOME"/.npm-global "$HOME"/.nvm/versions/node/*; do
    for p in "$d"/lib/node_modules/*/package.json "$d"/lib/node_modules/@*/*/package.json; do
      [ -f "$p" ] && printf 'npm %s %s\n' "$(sed -n '/"version"/{s/.*"version": *"\([^"]*\)".*/\1/p;q}' "$p")" "${p%/package.json}"
    done
  done
  for p in "$HOME"/.local/share/pipx/venvs/*; do [ -d "$p" ] && printf 'pipx %s\n' "${p##*/}"; done
  for d in "$HOME"/.local/bin "$HOME"/bin "$HOME"/.cargo/bin "$HOME"/go/bin /usr/local/bin /usr/local/sbin; do
    for p in "$d"/*; do [ -e "$p" ] && printf 'program %s\n' "$p"; done
  done
  for p in /etc/systemd/system/*.service "$HOME"/.config/systemd/user/*.service; do [ -e "$p" ] && printf 'unit %s\n' "$p"; done
  cut -d: -f1 /etc/passwd | sed 's/^/user /'
  [ -e /lib/apk/db/installed ] && sed -n 's/^P:/apk /p' /lib/apk/db/installed
  command -v rpm >/dev/null && [ ! -e /var/lib/dpkg/status ] && rpm -qa --qf 'rpm %{NAME} %{VERSION}-%{RELEASE}\n'
  command -v brew >/dev/null && brew list --versions 2>/dev/null | sed 's/^/brew /'
} >"$f" 2>/dev/null
printf '%s' "$f"
