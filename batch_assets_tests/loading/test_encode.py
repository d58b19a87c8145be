import pyarrow as pa

from batch_assets.loading.encode import ENCODE_ROWS, encode_batches


def test_long_batches_are_encoded_in_pieces_that_come_to_the_same_stream() -> None:
    batch = pa.record_batch({"a": pa.array(range(3 * ENCODE_ROWS + 1), pa.int64())})
    pieces = [batch.slice(offset, 1_000) for offset in range(0, batch.num_rows, 1_000)]

    buffers = list(encode_batches(batch.schema, [batch]))

    assert len(buffers) == 1 + 4 + 1  # the header, four pieces, the trailer
    assert b"".join(buffers) == b"".join(encode_batches(batch.schema, pieces))
