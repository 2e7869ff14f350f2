"""Command lines and configuration files of random keys with hostile values, the same ones for the same seed."""

import random

from method.configs.schema import Key, all_keys, keys_of
from method.registry import METHODS

TEXTS = (
    *("", " ", ".", "..", "/", "~", "~/x", "~nobody-is-called-so/x", "$HOME", "${HOME}/x", "a/b", "a\nb", "a\x1b[2Jb"),
    *("null", "none", "true", "on", "off", "nan", "inf", "-inf", "1e400", "1e-400", "-0", "010", "0x1F", "1_000"),
    *("1:0", "Männer", "\u202e", "\u200b", "\ud800", "a\udcffb", "a\0b", "t" * 300, "9" * 400, "9" * 5000),
    *("-" + "9" * 25, "=", "%s %d", "2024-01-01", "0:0", "1:0, 0:1", "a:b:c", ",", "9" * 21, "9" * 20 + ":0"),
    *("retrain_reweight", "imagenet", "/dev/null", "/proc/self/mem", "/" + "n" * 300, "n/" * 3000, "-1", "1.5"),
)  # fmt: skip
PLAIN_YAML = (
    *("~", "on", "010", "0x1F", "0b1", "1_000", "1:0", "12:30:45", ".inf", "-.inf", ".nan", "2024-01-01", "2024-13-45"),
    *("[1, 2]", "{a: 1}", "!!binary aGk=", "!!int x", "!!set {a}", "&a [*a]", "!!timestamp x", "=", "<<", "? a", "-"),
    *("1e400", "0x" + "f" * 5000, "9" * 400, "9" * 5000, "1:" + "59:" * 2000 + "0", "!!python/name:os.system ''", "*b"),
)  # fmt: skip
SOUND = {int: ("0", "1", "3", "1000"), float: ("0.5", "1", "1e-4"), bool: ("true", "false")}
GIVEN = ("method", "dataset")


def value_of(key: Key, draw: random.Random, texts: tuple[str, ...]) -> str:
    """A sound value for half of the keys, so that others are looked at too."""
    sound = tuple(map(str, key.choices)) or SOUND.get(key.type, ("a",))
    return draw.choice(sound if draw.random() < 0.5 else texts)


def command_of(number: int) -> list[str]:
    """The words of a command line, a few of them hostile."""
    draw = random.Random(f"command {number}")
    method, dataset = draw.choice(tuple(METHODS)), draw.choice(("digits", "digits", "waterbird", "custom"))
    words = ["--method", method, "--dataset", dataset]
    for name in draw.sample(sorted(set(keys_of(method, dataset)) - set(GIVEN)), draw.randint(1, 3)):
        key = all_keys()[name]
        if key.type is bool:
            words.append(f"--{name}" if draw.random() < 0.5 else f"--no-{name}")
        else:
            words.append(f"--{name}={value_of(key, draw, TEXTS)}")
    return words


def yaml_of(method: str, number: int) -> str:
    """The text of a --config file for a method, a few of its lines hostile."""
    draw = random.Random(f"yaml {number}")
    lines = []
    for name in draw.sample(sorted(set(keys_of(method, "digits")) - set(GIVEN)), draw.randint(1, 3)):
        lines.append(f"{name}: {value_of(all_keys()[name], draw, PLAIN_YAML + TEXTS)}")
        if draw.random() < 0.3:  # in quotes, where escapes make any character
            text = draw.choice(TEXTS).encode("ascii", "backslashreplace").decode()
            lines[-1] = f'{name}: "{text}"'.replace("\0", "\\0").replace("\n", "\\n").replace("\x1b", "\\e")
    if draw.random() < 0.2:
        lines = [draw.choice(("miu:", "tasks:", "- a", "[" * 500, "tasks: [{method: miu, set: {lr: 010}}]")), *lines]
    return "\n".join(lines) + "\n"
