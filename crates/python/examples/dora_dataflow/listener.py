"""Node of a dora dataflow: prints the best class of each answer, and ends after COUNT of them, if that is set."""

import json
import os

from dora import Node


def main() -> None:
    left = int(os.environ.get("COUNT", "0"))
    for event in Node():
        if event["type"] != "INPUT":
            continue
        answer = json.loads(event["value"][0].as_py())
        best = answer["top"][0]
        print(f"{best['label']} {best['probability']:.0%} ({answer['version']})", flush=True)
        left -= 1
        if left == 0:
            return


if __name__ == "__main__":
    main()
