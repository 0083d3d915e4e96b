"""One cluster on fake probes and routes that note every call."""

from __future__ import annotations

from collections.abc import Callable, Container

from twisted.internet.task import Clock

from pgswitch.cluster.cluster import Cluster
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.monitor import Monitor
from pgswitch.cluster.nodes import Node, named
from tests.fakes.probes import FakeProbe
from tests.unit.captured import CapturedLog

STEP_S = 0.01


class NotedRoutes:
    """Notes what a cluster does to its pools."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.done: list[tuple[object, ...]] = []
        self.standby_nodes: list[str] = []
        self.answering: list[str] = []
        self.readers: list[str] = []
        self.lost_nodes: list[tuple[str, bool]] = []
        self.client_answered = float("-inf")

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Note."""
        self.done.append(("serve", node.name, same))

    def wait(self) -> None:
        """Note."""
        self.done.append(("wait",))

    def serve_as_configured(self) -> None:
        """Note."""
        self.done.append(("serve as configured",))

    def hold(self, *, is_leaving: bool) -> None:
        """Note."""
        self.done.append(("hold", is_leaving))

    def keep_standbys(self, nodes: list[Node]) -> None:
        """Note."""
        self.standby_nodes = [node.name for node in nodes]

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Note."""
        self.done.append(("close", node.name, addresses))

    def node_answers(self, node: Node) -> None:
        """Note."""
        self.answering.append(node.name)

    def node_lost(self, node: Node, *, is_silent: bool) -> None:
        """Note."""
        self.lost_nodes.append((node.name, is_silent))

    def set_readers(self, nodes: list[Node], readers: list[Node]) -> None:
        """Note."""
        assert set(readers) <= set(nodes)
        self.readers = [node.name for node in readers]

    def waiting(self) -> tuple[int, float]:
        """Return what the test says."""
        return 3, 0.5

    def client_answered_at(self, _node: Node) -> float:
        """Return what the test says."""
        return self.client_answered


class ClusterSetting:
    """A cluster, its clock and its nodes."""

    def __init__(self, hosts: str = "a") -> None:
        """Start it with these hosts in the configuration."""
        self.clock = Clock()
        self.clock.advance(100.0)
        self.routes = NotedRoutes()
        self.captured = CapturedLog()
        self.probes: dict[str, FakeProbe] = {}
        self.recorded: list[str] = []
        machine = Machine(named((host, 5432) for host in hosts))
        self.monitor = Monitor(
            key="db",
            query="select host",
            port=5432,
            machine=machine,
            client_answered_at=self.routes.client_answered_at,
            make_probe=self._probe,
            clock=self.clock.seconds,
            log=self.captured.log,
        )
        self.cluster = Cluster(
            key="db",
            machine=machine,
            monitor=self.monitor,
            routes=self.routes,
            clock=self.clock.seconds,
            log=self.captured.log,
            record=self.recorded.append,
        )
        self.cluster.start(self.clock)
        self.wait()

    def _probe(self, node: Node, lost: Callable[[], None]) -> FakeProbe:
        probe = self.probes[node.name] = FakeProbe(node, lost)
        return probe

    def wait(self, seconds: float = 0.1) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)

    def logged(self, words: str) -> bool:
        """Tell whether some words were logged."""
        return any(words in line for line in self.captured.lines)
