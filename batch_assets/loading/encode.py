"""Arrow batches to PostgreSQL's binary COPY format.

Format: PostgreSQL documentation, COPY, "Binary Format". Types are checked before, in
`column_types.py`; this module trusts them.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

# pgpq holds the interpreter lock while it encodes: 8 ms for 65,536 rows, 163 ms for a million.
ENCODE_ROWS = 65_536


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
