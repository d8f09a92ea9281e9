"""abi_picture.py - reads include/service_layer/abi.h into a picture that can be compared: what a released contract promised."""
import re
import sys

# Passed by value or as bare array elements: they have no size field, so they can never grow.
FROZEN = {"sl_str", "sl_pair", "sl_value", "sl_call"}


def strip(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r"^#ifdef __cplusplus$.*?^#endif$", "", text, flags=re.S | re.M)
    return text


def macros(text):
    found = {}
    for name, value in re.findall(r"^#define[ \t]+(SL_\w+)[ \t]+(\S[^\n]*?)[ \t]*$", text, flags=re.M):
        if name not in ("SL_EXPORT", "SL_MINOR"):
            found[name] = value
    return found


def split_top(text, at):
    """Splits at a character that is outside of brackets."""
    parts, depth, part = [], 0, ""
    for ch in text:
        depth += ch in "({[" and 1 or ch in ")}]" and -1 or 0
        if ch == at and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += ch
    return [p for p in parts + [part] if p.strip()]


def members(body):
    """One line a member, however they were grouped."""
    out = []
    for declaration in split_top(body, ";"):
        declaration = " ".join(declaration.split())
        pieces = split_top(declaration, ",") if "(" not in declaration and "{" not in declaration else [declaration]
        first = pieces[0].strip()
        out.append(first)
        kind = re.match(r"(.*?)(\**\s*\w+)$", first)
        out += [f"{kind.group(1).rstrip()} {p.strip()}" for p in pieces[1:]]
    return out


def constants(body):
    out, value = {}, -1
    for item in split_top(body, ","):
        name, _, given = item.partition("=")
        value = int(given.strip().rstrip("u"), 0) if given.strip() else value + 1
        out[name.strip()] = value
    return out


def picture(header):
    """{"struct sl_x": [members], "enum": {constant: value}, "type": {name: text}, "macro": {...}, "extern": [...]}"""
    text = strip(header)
    found = {"enum": {}, "type": {}, "macro": macros(text), "extern": []}
    text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    for statement in split_top(text, ";"):
        s = " ".join(statement.split()).lstrip("} ")
        body = re.match(r"(?:typedef )?(struct|enum) ?(\w*) ?\{(.*)\} ?(\w*)$", s)
        if body and body.group(1) == "struct":
            found["struct " + (body.group(4) or body.group(2))] = members(body.group(3))
        elif body:
            found["enum"].update(constants(body.group(3)))
        elif s.startswith("typedef"):
            found["type"][re.findall(r"\w+", s.split("(")[0])[-1]] = s
        elif s.startswith("extern"):
            found["extern"].append(s)
    return found


def compare(old, new):
    """What a plugin built against `old` could trip over in `new`: a list of sentences."""
    wrong = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            wrong.append(f"{name} is gone")
        elif name.startswith("struct "):
            if after[:len(before)] != before:
                at = next(i for i in range(len(before)) if i >= len(after) or after[i] != before[i])
                wrong.append(f"{name}: member {at} was `{before[at]}`, is `{after[at] if at < len(after) else 'gone'}`")
            elif name.split()[1] in FROZEN and len(after) != len(before):
                wrong.append(f"{name} has no size field: nothing can be appended to it")
        elif isinstance(before, dict):
            wrong += [f"{name} {k} was `{v}`, is `{after.get(k, 'gone')}`" for k, v in before.items() if after.get(k) != v]
        else:
            wrong += [f"`{line}` is gone" for line in before if line not in after]
    return wrong


if __name__ == "__main__":  # prints the picture of a header, to be recorded at a release
    import json
    with open(sys.argv[1]) as f:
        print(json.dumps(picture(f.read()), indent=1))
