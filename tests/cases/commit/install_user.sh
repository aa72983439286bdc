# An installation below the home directory: a program, a tree, settings, start-up files, a link, something removed.
set -e
mkdir -p ~/.local/bin ~/.local/share/tool/data ~/.config/tool
printf '#!/bin/sh\necho tool\n' > ~/.local/bin/tool; chmod 755 ~/.local/bin/tool
for i in 1 2 3; do echo "$i" > ~/.local/share/tool/data/"$i"; done
echo 'colour = true' > ~/.config/tool/settings; chmod 600 ~/.config/tool/settings
ln -s ~/.local/bin/tool ~/tool
echo 'export PATH=$HOME/.local/bin:$PATH' >> ~/.bashrc
printf 'set -o vi\n' > ~/.profile.new; mv ~/.profile.new ~/.profile
rm -f ~/.bash_logout
python3 -m compileall -q ~/.local/share/tool >/dev/null
