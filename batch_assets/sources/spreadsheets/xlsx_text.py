"""Text inside the XML of xlsx files: entities, and the escapes of Excel itself."""

import html
import re

import pyarrow as pa
import pyarrow.compute as pc

# ECMA-376 part 1, 22.9.2.19 (ST_Xstring): characters that XML cannot hold.
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_NAMED = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))


def unescape(texts: pa.Array) -> pa.Array:
    """Resolve entities in texts cut out of XML."""
    if pc.any(pc.match_substring(texts, "&#")).as_py():
        return pa.array(
            [None if text is None else html.unescape(text) for text in texts.to_pylist()],
            pa.string(),
        )
    for entity, character in _NAMED:
        texts = pc.replace_substring(texts, entity, character)
    return texts


def decode_escapes(text: str) -> str:
    """Resolve `_x000D_` and its like; `_x005F_` is the underscore that protects one."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def decode_all(texts: pa.Array) -> pa.Array:
    """`decode_escapes` for whole arrays, which rarely have anything to resolve."""
    has_escape = pc.match_substring_regex(texts, r"_x[0-9A-Fa-f]{4}_")
    if not pc.any(has_escape).as_py():
        return texts
    return pa.array(
        [None if text is None else decode_escapes(text) for text in texts.to_pylist()],
        pa.string(),
    )
