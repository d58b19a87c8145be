"""Vectors for texts: `[documents.embedding]`, the interface, and what became of a question.

The adapter for an HTTP endpoint is in embedding_http.py; which pieces of text get a vector, and
where vectors are stored, in ingest/documents/embed.py.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from batch_assets.errors import ConfigurationError, DataError
from batch_assets.settings import Settings, describe_validation


class TextsRefused(DataError):
    """An endpoint does not take these texts, too long ones for instance; others it may."""


class Embedder(Protocol):
    """Gives texts their vectors.

    Attributes:
        model: Name of what computes them; vectors of two models cannot be compared.
        dimensions: Numbers in each vector.
        batch_texts: Texts it takes at once.
    """

    @property
    def model(self) -> str: ...  # noqa: D102 - above

    @property
    def dimensions(self) -> int: ...  # noqa: D102

    @property
    def batch_texts(self) -> int: ...  # noqa: D102

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of the texts, in their order.

        Raises:
            TextsRefused: Not these texts; others may be taken.
            SourceUnavailable: No answer in time, retries included.
            SourceRefused: No question of ours is taken, whatever the texts.
            ContractError: The answer has another number of vectors or dimensions.
        """


class EmbeddingSettings(BaseModel):
    """`[documents.embedding]`: an endpoint that speaks as OpenAI's `/embeddings` does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(description="what comes before /embeddings")
    model: str = Field(min_length=1, max_length=200)
    # pgvector stores at most 16,000 numbers.
    dimensions: int = Field(ge=1, le=16_000)
    token_env: str = Field(default="", description="variable with the token; none is sent without")
    batch_texts: int = Field(default=64, ge=1, le=2_048, description="texts of one request")
    timeout_seconds: float = Field(default=60.0, gt=0, description="of one whole exchange")
    attempts: int = Field(default=4, ge=1, description="where waiting may help")
    first_wait_seconds: float = Field(default=1.0, gt=0, description="doubled each time")
    max_wait_seconds: float = Field(default=120.0, ge=0, description="in all, as the server asks")

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no address; write http://... or https://...")
        if parts.username or parts.password or parts.query:
            raise ValueError("has a user or query; name the variable of a token in token_env")
        return text.rstrip("/")


def read_embedding_settings(settings: Settings) -> EmbeddingSettings | None:
    """The section `[documents.embedding]`; None if it is absent: nothing is embedded then.

    Raises:
        ConfigurationError: Names the setting that is wrong.
    """
    section = settings.section("documents").get("embedding")
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise ConfigurationError(
            f"{settings.config_file}: documents.embedding is {section!r}, expected a table; "
            "write [documents.embedding]"
        )
    try:
        return EmbeddingSettings(**section)
    except ValidationError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [documents.embedding] {describe_validation(error)}"
        ) from None
