import pickle

import pytest

from batch_assets.sources.documents.outcome import (
    DocumentOutcome,
    DocumentRefused,
    advice_of,
    reason_of,
)


@pytest.mark.parametrize("outcome", DocumentOutcome)
def test_every_outcome_has_a_reason_and_advice_in_both_languages(outcome: DocumentOutcome) -> None:
    for texts in (reason_of, advice_of):
        english, chinese = texts(outcome, "en"), texts(outcome, "zh")
        assert english.isascii()
        assert any("\u4e00" <= character <= "\u9fff" for character in chinese)


def test_a_refusal_survives_the_way_between_processes() -> None:
    refusal = DocumentRefused(DocumentOutcome.ENCRYPTED, "asks for a password")

    copy = pickle.loads(pickle.dumps(refusal))

    assert (copy.outcome, copy.reason) == (refusal.outcome, refusal.reason)
    assert str(copy) == "encrypted: asks for a password"
