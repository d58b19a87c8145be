from batch_assets.loading.chunk_size import ChunkSize

MIB = 1024 * 1024


def test_quick_commits_grow_the_chunk_to_its_upper_bound() -> None:
    size = ChunkSize(current_rows=1_000, highest_rows=20_000)

    for _ in range(20):
        size.observe(0.1, 100 * MIB)

    assert size.current_rows == 20_000
    assert size.course == sorted(size.course)


def test_slow_commits_halve_the_chunk_to_its_lower_bound() -> None:
    size = ChunkSize(current_rows=16_000)

    for _ in range(10):
        size.observe(2.0, 100 * MIB)

    assert size.course[:4] == [16_000, 8_000, 4_000, 2_000]
    assert size.current_rows == 500


def test_memory_shrinks_the_chunk_however_quick_it_was() -> None:
    size = ChunkSize(current_rows=16_000)

    size.observe(0.01, 600 * MIB)

    assert size.current_rows == 8_000


def test_an_upper_bound_below_the_lower_one_holds() -> None:
    size = ChunkSize(current_rows=3, highest_rows=3)

    size.observe(0.01, MIB)

    assert size.current_rows == 3
