"""`[api]` of the configuration: where the API listens and what it takes."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batch_assets.errors import ConfigurationError
from batch_assets.ops.api.slow_clients import Patience
from batch_assets.settings import Settings, describe_validation


class ApiSettings(BaseModel):
    """`[api]`.

    Attributes:
        host: Loopback unless somebody puts a proxy with TLS before it.
        connections: To the database, at most.
        max_body_bytes: Of one request, uploads included.
        max_upload_files: Of one request.
        upload_idle_seconds: How long an upload may send nothing.
        max_listeners: Of live progress, at once; each is a connection to this process alone.
        look_every_seconds: How often live progress is read, for all listeners together.
        max_client_connections: At once; the next is refused with 503.
        header_seconds: How long the head of a request may take, from the connection on.
        body_seconds: How long a body may take, with more time for each byte that has arrived.
        body_bytes_per_second: Least rate of a body in the long run.
        answer_seconds: How long a client may take for 64 KiB of an answer.
        requests_per_second: Of one token, and of one address, in the long run.
        request_burst: Requests that may come at once after a pause.
        etl_transfer: What /start_etl runs; may be left out where one transfer is configured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8010, ge=0, le=65_535)
    connections: int = Field(default=8, ge=1)
    max_body_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024)
    max_upload_files: int = Field(default=5_000, ge=1)
    upload_idle_seconds: float = Field(default=60.0, gt=0)
    etl_transfer: str | None = None
    max_listeners: int = Field(default=200, ge=1)
    look_every_seconds: float = Field(default=1.0, ge=0.1)
    max_client_connections: int = Field(default=500, ge=1)
    header_seconds: float = Field(default=10.0, gt=0)
    body_seconds: float = Field(default=30.0, gt=0)
    body_bytes_per_second: int = Field(default=1_000, ge=1)
    answer_seconds: float = Field(default=30.0, gt=0)
    requests_per_second: float = Field(default=100.0, gt=0)
    request_burst: int = Field(default=300, ge=1)

    def patience(self) -> Patience:
        """What a client may take."""
        return Patience(
            header_seconds=self.header_seconds,
            body_seconds=self.body_seconds,
            bytes_per_second=self.body_bytes_per_second,
            answer_seconds=self.answer_seconds,
            max_connections=self.max_client_connections,
        )


def read_api_settings(settings: Settings) -> ApiSettings:
    """The section as it is in force.

    Raises:
        ConfigurationError: A value is not allowed; says which.
    """
    try:
        return ApiSettings(**settings.section("api"))
    except ValidationError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [api] {describe_validation(error)}"
        ) from None
