"""Run by a peer's own Python: reads lists of files, a line of JSON each, and answers one a line.

Imports nothing but the peer and the standard library. An answer tells the processor seconds of
the list and how many words were found in each file that could be read.
"""

import json
import logging
import os
import sys
import time
import warnings


def _pypdf_reader():
    import pypdf

    def read(path):
        return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)

    return pypdf.__version__, read


def _markitdown_reader():
    from importlib import metadata

    from markitdown import MarkItDown

    converter = MarkItDown(enable_plugins=False)
    return metadata.version("markitdown"), lambda path: converter.convert(path).text_content


def main():
    """Serve standard input."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    # Peers print what they think; the answers go where nobody else writes.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    version, read = {"pypdf": _pypdf_reader, "markitdown": _markitdown_reader}[sys.argv[1]]()
    print(json.dumps({"version": version}), file=answers, flush=True)
    for line in sys.stdin:
        words, before, started = {}, os.times(), time.perf_counter()
        for path in json.loads(line):
            try:
                words[path] = len(read(path).split())
            except Exception:  # noqa: BLE001 - whatever the peer cannot read
                continue
        after = os.times()
        cpu = after.user - before.user + after.system - before.system
        seconds = time.perf_counter() - started
        answer = {"cpu_seconds": cpu, "seconds": seconds, "words": words}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
