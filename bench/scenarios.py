"""What is measured: a name, what the generator is told, who takes part, and which figure is looked at first."""

import dataclasses

import servers

DURABLE_STAGES = ["02-select", "03-epoll", "05-threaded"]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`sweep` scenarios share a plot: their `x` is the horizontal axis of it."""
    name: str
    options: tuple
    figure: str = "deliveries_per_cpu_second"
    sweep: str = ""
    x: float = 0
    store: tuple = ("--store", "memory")
    stages: tuple = tuple(servers.STAGES)
    peers: str = "bus"          # bus: all peers; durable; none
    connections: int = 1000
    threads: int = 1            # of 05
    pinned: bool = True         # the server on a core of its own
    longer: int = 1             # so many times as long as the others

    def servers(self, with_peers):
        """In the order in which a round runs them."""
        chosen = [servers.stage(name, self.store, self.threads) for name in self.stages]
        if self.peers == "bus":
            chosen.append(servers.DO_NOTHING)
        if with_peers and self.peers != "none":
            chosen += servers.DURABLE_PEERS if self.peers == "durable" else servers.PEER_SERVERS
        return [server for server in chosen if server.max_connections >= self.connections + 10]


def fan(members, window):
    return Scenario(f"fan-{members}-{window}", ("--workload", f"fan-{members}", "--window", str(window)),
                    connections=members)


def threads(members, count):
    """Not pinned, so that the threads and the generator share the cores as the system likes."""
    return Scenario(f"fan-{members}-threads-{count}", ("--workload", f"fan-{members}", "--window", "64"),
                    stages=("05-threaded",), peers="none", connections=members, threads=count, pinned=False)


def idle(count):
    return Scenario(f"idle-{count}", ("--workload", "idle", "--idle", str(count)), "messages_per_cpu_second", "idle", count,
                    connections=200 + count)


def text(size):
    return Scenario(f"text-{size}", ("--workload", "fan-100", "--text-bytes", str(size)), sweep="text", x=size,
                    peers="bus" if size <= 256 else "none", connections=100)


def rate(messages):
    """A percentile takes many messages; at half of what the fast ones can do the servers are compared by it."""
    return Scenario(f"rate-{messages}", ("--workload", "groups", "--rate", str(messages)), "latency_p99_us", "rate", messages,
                    longer=5 if messages == 8000 else 2)


def durable(workload, durability):
    """So long that most of the time messages are settled, too."""
    return Scenario(f"durable-{durability}-{workload}", ("--workload", workload), "messages_per_second",
                    store=("--store", "sqlite", "--durability", durability), stages=tuple(DURABLE_STAGES),
                    peers="durable" if durability == "full" else "none", connections=200, longer=5)


SCENARIOS = [
    *(fan(members, window) for members in (100, 1000) for window in (64, 512)),
    Scenario("slow", ("--workload", "slow"), connections=1000),
    Scenario("groups", ("--workload", "groups")),
    Scenario("groups-all", ("--workload", "groups-all")),
    Scenario("pairs", ("--workload", "pairs"), "messages_per_cpu_second", connections=200),
    *(threads(members, count) for members in (100, 1000) for count in (1, 2)),
    *(idle(count) for count in (10, 100, 700, 1700, 9500)),
    Scenario("storm", ("--workload", "storm"), "logins_per_cpu_second", connections=100),
    *(text(size) for size in (16, 256, 1024, 8192)),
    *(rate(messages) for messages in (1000, 2000, 4000, 8000, 12000, 16000)),
    *(durable(workload, durability) for durability in ("full", "normal") for workload in ("pairs", "fan-100")),
]
