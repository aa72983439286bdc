"""Is a file this user's alone? One that another user owns or may write says what they want, not what this user wants."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def not_ours(path: Path) -> str:
    """Why a file and the directory it lies in are not this user's (or root's) alone; empty when they are. Raises OSError."""
    for place in (path, path.parent):
        status = os.stat(place)
        if status.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to {_name(status.st_uid)}, and you are {_name(os.geteuid())}"
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_mode & stat.S_IWOTH and not sticky:
            return f"{place} can be written by every user: chmod o-w {place}"
        if status.st_mode & stat.S_IWGRP and not sticky and not _is_private(status.st_gid):
            return f"{place} can be written by the group {_group(status.st_gid)}: chmod g-w {place}"
    return ""


def _is_private(gid: int) -> bool:
    """A group that nobody else is in, as many distributions make one for each user; root's counts as one."""
    if gid == 0:
        return True
    try:
        group, account = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == account.pw_gid and group.gr_name == account.pw_name and set(group.gr_mem) <= {account.pw_name}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
