"""Arrow batches to PostgreSQL's binary COPY format.

Format: PostgreSQL documentation, COPY, "Binary Format". Types are checked before, in
`column_types.py`; this module trusts them.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

# pgpq holds the interpreter lock while it encodes: 30 ms for 65,536 rows of 24 columns, three times
# that where other work keeps the processors, and nobody else in this process gets a word in, the
# event loop of the API included. For 8,192 rows it is 3 to 5 ms, and all of them take no longer.
ENCODE_ROWS = 8_192


def encode_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Encode batches of one schema as one binary COPY stream.

    Yields:
        The header, one buffer for at most ENCODE_ROWS rows each, and the trailer.
    """
    encoder = ArrowToPostgresBinaryEncoder(schema)
    yield encoder.write_header()
    for batch in batches:
        for offset in range(0, batch.num_rows, ENCODE_ROWS):
            yield encoder.write_batch(batch.slice(offset, ENCODE_ROWS))
    yield encoder.finish()
