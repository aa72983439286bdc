"""Print the schema that the dataclasses describe."""

import json

from skillrun.record.schema import build

if __name__ == "__main__":
    print(json.dumps(build(), indent=1, ensure_ascii=False))
