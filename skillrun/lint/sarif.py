"""Findings as SARIF 2.1.0 (OASIS Standard), as plain dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from skillrun.lint.finding import Finding, catalogue

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Iterable[Finding], version: str) -> dict[str, Any]:
    """One run of skillrun lint; `version` is skillrun's own."""
    rules = list(catalogue().values())
    index = {rule.id: number for number, rule in enumerate(rules)}
    descriptors = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": f"{rule.why}\n\n{rule.fix}", "markdown": f"{rule.why}\n\n**What to do:** {rule.fix}"},
            "defaultConfiguration": {"level": rule.level},
        }
        for rule in rules
    ]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "skillrun lint", "semanticVersion": version, "rules": descriptors}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, index[finding.rule]) for finding in findings],
            }
        ],
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    path = Path(finding.path)
    where = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    print_ = hashlib.sha256(f"{finding.rule}\0{path.name}\0{finding.message}".encode("utf-8", "replace")).hexdigest()
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.level,
        "message": {"text": f"{catalogue()[finding.rule].title}: {finding.message}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": where},
                    "region": {"startLine": finding.line, "startColumn": finding.column},
                }
            }
        ],
        "partialFingerprints": {"skillrun/v1": print_},
    }
