"""What an operand or an option's value is to its program, and the effects that follow; the words the tables use.

Roles of operands and option values: read, write, append, create, delete, delete-tree, move, metadata, format, url, send,
remote, host, install, remove, index, script, code, shell, command, words (the rest joined as shell text), run-command
(one behind `run` or `exec`), cwd and work (what it runs works there; writes there too), login (it works in a home), root
(in another root directory), plain, note NAME, and any kind of effect (`service`, `account`, ...) with a remark after it.
"""

from skillrun.policy.invocation import Role
from skillrun.policy.roles import connections, files, packages, programs

ROLES: dict[str, Role] = {**files.ROLES, **connections.ROLES, **packages.ROLES, **programs.ROLES}
