"""What a fault may touch: the site, how it runs, the server, a proxy before it, a reader."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from batch_assets_tests.fakes.tcp_proxy import TcpProxy, running_proxy
from batch_assets_tests.scenarios.matrix.reading import Reader
from batch_assets_tests.scenarios.matrix.server import MatrixServer
from batch_assets_tests.scenarios.matrix.site import Site
from batch_assets_tests.scenarios.matrix.ways import DaemonBackfill, JobExecute


@dataclass
class World:
    """One scenario under way."""

    site: Site
    way: JobExecute | DaemonBackfill
    server: MatrixServer
    reader: Reader
    resources: ExitStack = field(default_factory=ExitStack)

    def proxied(self) -> tuple[TcpProxy, str]:
        """A proxy that lives as long as the scenario, and the database's URL through it."""
        proxy = self.resources.enter_context(running_proxy(self.server.socket))
        head, _, rest = self.site.url.partition("@/")
        name = rest.partition("?")[0]
        return proxy, f"{head}@127.0.0.1:{proxy.port}/{name}"


@contextmanager
def opened_world(
    site: Site, way: JobExecute | DaemonBackfill, server: MatrixServer, reader: Reader
) -> Iterator[World]:
    """What a fault opens is closed with the scenario."""
    world = World(site, way, server, reader)
    with world.resources:
        yield world
