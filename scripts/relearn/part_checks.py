"""Whether a part of a test that an earlier start has left is as this program writes it."""

from typing import Any

from utils.checks import Check, check, listed, null_or, number, plain, table, text, whole

COUNTS, PERCENT = listed(whole()), number(0, 100)
CURVE = {"steps": listed(whole(), at_least=1), "correct": listed(COUNTS, at_least=1), "count": COUNTS}
ALIKE = table(
    {"model": text(empty=False), "samples": text(empty=False), "group": null_or(whole()), "n": whole()},
    needed=("model", "samples", "group", "n"),
)
PARTS: dict[str, Check] = {  # by the first word of their names
    "curve": table(CURVE, needed=CURVE),
    "time": table(CURVE | {"target": PERCENT, "steps_a_pass": whole(1)}, needed=(*CURVE, "target", "steps_a_pass")),
    "distance": number(0),
    "line": table(
        {
            "accuracy": table({}, others=listed(PERCENT, at_least=2)),
            "barrier": table({}, others=PERCENT),
            "n": table({}, others=whole(1)),
        },
        needed=("accuracy", "barrier", "n"),
    ),
    "features": table(
        {"probe": table({}, others=table({"correct": COUNTS})), "count": COUNTS, "cka": listed(ALIKE)},
        needed=("probe", "count", "n_held_out", "cka"),
    ),
}
WITHOUT_VALUE = table({"reason": text(empty=False)}, needed=("reason",))


def misfit(name: str, part: Any, question: dict[str, Any]) -> str:
    """What is wrong with a part, in words, for the test that asks `question`; empty where nothing is."""
    kind = name.partition(" ")[0]
    has_none = kind == "curve" and isinstance(part, dict) and "reason" in part
    try:
        check(part, WITHOUT_VALUE if has_none else PARTS.get(kind, plain), "it")
    except ValueError as error:
        return str(error)
    if kind not in ("curve", "time") or has_none:
        return ""
    if kind == "curve" and part["steps"] != [0, *question["steps"]]:
        return f"its steps are {part['steps']}, expected {[0, *question['steps']]}"
    looks, steps, n = part["correct"], part["steps"], len(part["count"])
    if len(looks) != len(steps) or any(len(one) != n for one in looks):
        return f"it has {len(looks)} looks, expected one at each of {n} groups after each of {len(steps)} steps"
    if any(right > of for one in looks for right, of in zip(one, part["count"], strict=True)):
        return "it has more right predictions than samples"
    return ""
