import pytest

from benchmarks.fit import growth_exponent, last_exponent


def test_the_exponent_is_one_where_each_unit_costs_the_same() -> None:
    assert growth_exponent({10: 0.2, 100: 2.0, 1_000: 20.0}) == pytest.approx(1.0)
    assert growth_exponent({10: 1.0, 100: 100.0}) == pytest.approx(2.0)


def test_a_fixed_cost_hides_growth_of_small_numbers_from_all_but_the_last_exponent() -> None:
    costs = {10: 1.0, 100: 1.0, 1_000: 10.0}

    assert growth_exponent(costs) == pytest.approx(0.5)
    assert last_exponent(costs) == pytest.approx(1.0)


def test_a_cost_below_nothing_is_noise_and_not_a_measurement() -> None:
    with pytest.raises(RuntimeError, match="expected costs above 0"):
        growth_exponent({10: -0.1, 100: 1.0})
