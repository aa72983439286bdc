"""What an operand or an option's value is to its program, and the effects that follow; the words the tables use.

Roles of operands and option values: read, write, append, create, delete, delete-tree, move, metadata, format, url, send,
remote, host, install, remove, index, cwd, script, code, shell, command, words (the rest joined as shell text), plain,
note NAME, and any kind of effect (`service`, `account`, `kill`, `defence-off`, ...) with a remark after it.
"""

from skillrun.policy.invocation import Role
from skillrun.policy.roles import connections, files, packages, programs

ROLES: dict[str, Role] = {**files.ROLES, **connections.ROLES, **packages.ROLES, **programs.ROLES}
