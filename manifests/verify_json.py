"""JSON that no two programs read differently (section J of SPEC.md), held to the schemas beside this file."""

import itertools
import json
import re
from pathlib import Path

MOST = 16 * 2**20
SCHEMAS = {
    name: json.loads(Path(__file__).with_name("schema").joinpath(f"{name}.schema.json").read_bytes())
    for name in ("envelope", "statement", "root")
}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
CHECKS = {  # keyword: the values that it is about, and whether one of them is as it says
    "type": (object, lambda value, says: type(value) is TYPES[says]),
    "const": (object, lambda value, says: type(value) is type(says) and value == says),
    "enum": (object, lambda value, says: value in says),
    "minimum": (int, lambda value, says: value >= says),
    "maximum": (int, lambda value, says: value <= says),
    "pattern": (str, lambda value, says: re.search(says, value)),
    "minLength": (str, lambda value, says: len(value) >= says),
    "maxLength": (str, lambda value, says: len(value) <= says),
    "minItems": (list, lambda value, says: len(value) >= says),
    "maxItems": (list, lambda value, says: len(value) <= says),
    "uniqueItems": (list, lambda value, says: len(set(map(json.dumps, value))) == len(value)),
    "required": (dict, lambda value, says: value.keys() >= set(says)),
    "maxProperties": (dict, lambda value, says: len(value) <= says),
}
PARTS = {"items": (list, iter), "propertyNames": (dict, iter), "additionalProperties": (dict, dict.values)}
NOTES = {"$schema", "$id", "$defs", "$comment", "title", "contentEncoding", "contentMediaType"}
BRANCHES = {"then", "else"}


def need(holds, reason):
    if not holds:
        raise ValueError(reason)


def faults(value, schema, defs, where):
    """Yield what in a value breaks a JSON Schema; it knows the keywords that ours use, and no others."""
    for word, says in schema.items():
        if word in CHECKS:
            kind, is_so = CHECKS[word]
            if isinstance(value, kind) and not is_so(value, says):
                yield f"{where} breaks `{word}` of the schema"
        elif word in PARTS:  # no schema of ours has `additionalProperties` beside `properties`
            kind, parts = PARTS[word]
            for part in parts(value) if isinstance(value, kind) else ():
                yield from faults(part, says, defs, f"{where}[]")
        elif word == "properties":
            for name in [name for name in says if isinstance(value, dict) and name in value]:
                yield from faults(value[name], says[name], defs, f"{where}.{name}")
        elif word == "$ref":
            yield from faults(value, defs[says.removeprefix("#/$defs/")], defs, where)
        elif word == "allOf":
            for each in says:
                yield from faults(value, each, defs, where)
        elif word == "not":
            if not any(faults(value, says, defs, where)):
                yield f"{where} breaks `{word}` of the schema"
        elif word == "if":
            branch = "else" if any(faults(value, says, defs, where)) else "then"
            yield from faults(value, schema[branch], defs, where)
        elif word not in NOTES | BRANCHES:
            raise NotImplementedError(word)


def no_twins(pairs):
    need(len(dict(pairs)) == len(pairs), "a name stands twice in an object")
    return dict(pairs)


def integer(text):
    need(re.fullmatch("-?[0-9]{1,16}", text), "a number is no integer, or too large")
    need(abs(int(text)) < 2**53, "an integer is too large")
    return int(text)


def read(data, name):
    """A document under the rules J that meets the schema of this name; ValueError if it does not."""
    need(len(data) <= MOST, f"{name} is too large")
    text = data.decode("utf-8")
    outside, strings = re.subn(r'"[^"\\]*(?:\\.[^"\\]*)*"', "", text, flags=re.DOTALL)
    marks = re.findall(r"[][{},]", outside)
    levels = itertools.accumulate((mark in "[{") - (mark in "]}") for mark in marks)
    need(strings + len(marks) <= 1_000_000, f"{name} has too many parts")
    need(max(levels, default=0) <= 32, f"{name} is too deep")
    numbers = {"parse_int": integer, "parse_float": integer, "parse_constant": integer}
    document = json.loads(text, object_pairs_hook=no_twins, **numbers)
    json.dumps(document, ensure_ascii=False).encode()  # which half a surrogate pair does not survive
    for fault in faults(document, SCHEMAS[name], SCHEMAS[name]["$defs"], name):
        raise ValueError(fault)
    return document
