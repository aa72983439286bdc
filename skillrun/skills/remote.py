"""Skills from elsewhere: one document over https, or a repository through the git program.

What is fetched is limited in size and time, nothing of it is executed (no hooks, no submodules, no filters), and it is
kept by digest in the user's cache, so that the bytes that were reviewed are the bytes that run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from skillrun.skills.folder import files_of, read_path, write_files
from skillrun.skills.index import DOCUMENT_NAMES, MAX_BYTES
from skillrun.skills.parser.read import read_files
from skillrun.skills.plugin import documents_of
from skillrun.skills.skill import Skill, SkillError, digest_of, document_in

FETCH_SECONDS = 20.0
CLONE_SECONDS = 120.0
MAX_REDIRECTS = 5

_HERE = frozenset(("localhost", "127.0.0.1", "::1"))
_SHORT = re.compile(
    r"(?P<owner>[A-Za-z0-9][\w.-]*)/(?P<repo>[\w.-]+?)(?:\.git)?(?:/(?P<path>[\w./-]+?))?/?"
    r"(?:@(?P<skill>[a-z0-9-]+))?(?:#(?P<ref>[\w./-]+))?$"
)
_WEB = re.compile(
    r"https://github\.com/(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+?)(?:\.git)?(?:/(?P<view>tree|blob)/(?P<ref>[^/]+)(?:/(?P<path>.+))?)?/?$"
)
_LONG = re.compile(r"(?:git\+)?(?P<url>[^#]+)(?:#(?P<ref>[\w./-]*)(?::(?P<path>[\w./-]+))?)?$")


@dataclass(frozen=True, slots=True)
class Repository:
    """Where in which repository a skill lies. Empty `ref` is the default branch, empty `path` the root."""

    url: str
    ref: str = ""
    path: str = ""
    skill: str = ""
    """The name of a skill, wherever in it that lies."""


def repository_of(spec: str) -> Repository | None:
    """The repository meant by `owner/repo[/path][@skill][#ref]`, a GitHub page or `URL[#ref[:path]]`; None for another word."""
    if web := _WEB.match(spec):
        return Repository(f"https://github.com/{web['owner']}/{web['repo']}.git", web["ref"] or "", web["path"] or "")
    if "://" not in spec and not spec.startswith("git@") and (short := _SHORT.match(spec)):
        return Repository(
            f"https://github.com/{short['owner']}/{short['repo']}.git",
            short["ref"] or "",
            short["path"] or "",
            short["skill"] or "",
        )
    long = _LONG.match(spec)
    if not long or not re.match(r"(?:https?|git|ssh|file)://|git@", long["url"]):
        return None
    return Repository(long["url"], long["ref"] or "", long["path"] or "")


def cache() -> Path:
    """Where fetched skills are kept, one folder per digest."""
    if os.environ.get("SKILLRUN_CACHE"):
        return Path(os.environ["SKILLRUN_CACHE"]) / "sources"
    from platformdirs import user_cache_path

    return user_cache_path("skillrun") / "sources"


def fetch_skill(url: str) -> Skill:
    """The document at an https URL. Raises SkillError for everything that is not a Markdown document of acceptable size."""
    page = _WEB.match(url)
    if page and page["view"] == "blob":
        url = f"https://raw.githubusercontent.com/{page['owner']}/{page['repo']}/{page['ref']}/{page['path']}"
    elif page:
        return clone_skill(url)
    data, final, kind = _download(url)
    name = urlsplit(final).path.rsplit("/", 1)[-1] or "install.md"
    if "html" in kind or data.lstrip()[:200].lower().startswith((b"<!doctype html", b"<html")):
        raise SkillError(
            "is a web page, not a Markdown document: many sites serve one at the same address with `.md` added", final
        )
    name = name if name.lower().endswith((".md", ".markdown", ".txt")) else f"{name}.md"
    return kept({name: data}, name, final)


def _download(url: str) -> tuple[bytes, str, str]:
    """The bytes at a URL, the URL after redirects, and the content type."""
    import httpx2

    allowed(url)
    try:
        with httpx2.Client(
            timeout=FETCH_SECONDS, follow_redirects=False, headers={"accept": "text/markdown, text/plain;q=0.9, */*;q=0.1"}
        ) as client:
            for _ in range(MAX_REDIRECTS + 1):
                with client.stream("GET", url) as response:
                    if response.has_redirect_location:
                        before, url = url, str(httpx2.URL(url).join(response.headers["location"]))
                        allowed(url)
                        if urlsplit(url).hostname in _HERE and urlsplit(before).hostname not in _HERE:
                            raise SkillError(
                                "leads to what this machine itself serves, which is no document from there", before
                            )
                        continue
                    if response.status_code != 200:
                        raise SkillError(f"the server answers {response.status_code} {response.reason_phrase}", url)
                    return _body(response.iter_bytes(), url), url, response.headers.get("content-type", "")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise SkillError(f"cannot be fetched: {str(error) or type(error).__name__}", url) from None
    raise SkillError(f"more than {MAX_REDIRECTS} redirects", url)


def _body(pieces: object, url: str) -> bytes:
    data = bytearray()
    for piece in pieces:  # type: ignore[attr-defined]
        data += piece
        if len(data) > MAX_BYTES:
            raise SkillError(f"larger than {MAX_BYTES >> 10} KiB: nobody reviews instructions of that size", url)
    return bytes(data)


def allowed(url: str) -> None:
    """Raises SkillError for an address that anyone on the way can answer for."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE):
        return
    raise SkillError("only https is fetched: with plain http anyone on the way can change the instructions", url)


def clone_skill(spec: str) -> Skill:
    """A skill of a git repository, at the commit its ref names now. Raises SkillError."""
    where = repository_of(spec)
    if where is None:
        raise SkillError(f"`{spec}` names no repository: write owner/repo, owner/repo/path#ref, or a git URL")
    if not shutil.which("git"):
        raise SkillError("git is not installed: it is needed to fetch a skill from a repository", spec)
    with tempfile.TemporaryDirectory(prefix="skillrun-") as temporary:
        folder = Path(temporary) / "repository"
        commit = _checkout(where, folder)
        document = _document(folder, where)
        if not document.resolve().is_relative_to(folder.resolve()):
            raise SkillError(f"`{document.name}` is a link that leads out of the repository", where.url)
        if document.stat().st_size > MAX_BYTES:
            raise SkillError(f"`{document.name}` is larger than {MAX_BYTES >> 10} KiB", where.url)
        source = f"{where.url}#{commit}" + (f":{document.relative_to(folder).as_posix()}")
        if document.name == "SKILL.md":
            return kept(files_of(document.parent), "SKILL.md", source)
        return kept({document.name: document.read_bytes()}, document.name, source)


def _checkout(where: Repository, folder: Path) -> str:
    """Put the wanted commit into `folder` without running anything of it; its full hash."""
    folder.mkdir()
    _git(folder, where, "init", "-q", "--template=")
    _git(
        folder,
        where,
        "fetch",
        "-q",
        "--depth",
        "1",
        "--no-tags",
        "--no-recurse-submodules",
        "--",
        where.url,
        where.ref or "HEAD",
    )
    _git(folder, where, "checkout", "-q", "--detach", "FETCH_HEAD")
    return _git(folder, where, "rev-parse", "HEAD").strip()


def _git(folder: Path, where: Repository, *arguments: str) -> str:
    quiet = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "LC_ALL": "C",
    }
    hooks = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never")
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *hooks, *arguments], env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, check=False,
            capture_output=True, text=True, errors="replace", timeout=CLONE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SkillError(f"git did not finish within {CLONE_SECONDS:.0f} s", where.url) from None
    if done.returncode:
        reason = next(
            (line for line in done.stderr.splitlines() if line.startswith(("fatal:", "error:"))), done.stderr.strip()[-200:]
        )
        raise SkillError(f"git cannot fetch {where.ref or 'it'}: {reason.removeprefix('fatal: ')}", where.url)
    return done.stdout


def _document(folder: Path, where: Repository) -> Path:
    """The document meant; several skills in one repository must be told apart by a path or a name."""
    if where.path:
        return _document_at(folder, where)
    found = list(documents_of(folder) or ())
    if not found and not where.skill and any((folder / name).is_file() for name in DOCUMENT_NAMES):
        return document_in(folder) or folder
    found = found or _skills_below(folder)
    names = ", ".join(path.parent.relative_to(folder).as_posix() for path in found[:8])
    if where.skill:
        found = [path for path in found if path.parent.name == where.skill]
        if not found:
            raise SkillError(f"has no skill `{where.skill}`; it has {names or 'none'}", where.url)
    if len(found) == 1:
        return found[0]
    if found:
        raise SkillError(f"holds {len(found)} skills: name one as owner/repo@NAME or owner/repo/PATH, of {names}", where.url)
    document = document_in(folder)
    if document is None:
        raise SkillError("has no SKILL.md, install.md or README.md", where.url)
    return document


def _skills_below(folder: Path) -> list[Path]:
    every = (path for depth in ("*", "*/*", "*/*/*", ".*/*/*") for path in folder.glob(f"{depth}/SKILL.md"))
    return sorted({path for path in every if ".git" not in path.parts})


def _document_at(folder: Path, where: Repository) -> Path:
    chosen = folder / where.path
    inside = chosen.resolve().is_relative_to(folder.resolve())
    document = (document_in(chosen) if chosen.is_dir() else chosen) if inside and chosen.exists() else None
    if document is None and inside:
        named = list(folder.glob(f"*/{where.path}/SKILL.md"))
        document = named[0] if len(named) == 1 else None
    if document is None:
        raise SkillError(f"has no skill at `{where.path}`", where.url)
    return document


def kept(files: dict[str, bytes], document: str, source: str) -> Skill:
    """The skill, read from its place in the cache; written there first when it is not there yet."""
    read_files(files, document, None, source)
    digest = digest_of(files)
    name = digest.removeprefix("sha256:")
    place = cache() / name
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as temporary:
            new = Path(temporary) / name
            write_files(files, new)
            try:
                new.rename(place)
            except OSError:
                if not place.is_dir():
                    raise
    skill = read_path(place if document == "SKILL.md" else place / document, source)
    if skill.digest != digest:
        raise SkillError("its copy in the cache was changed: delete that folder and try again", str(place))
    return replace(skill, source=source)
