"""Everything that was gathered, made into machines, connections and findings."""

from collections.abc import Collection
from dataclasses import dataclass

from lvsha.trace import findings
from lvsha.trace.conversation import Conversation, give_roles, split, through_directors, understand
from lvsha.trace.gather import Gatherer, matches
from lvsha.trace.hosts import Host, Hosts, Role, find_own_macs, name_hosts
from lvsha.trace.packet import Endpoint
from lvsha.trace.passages import Offset, offsets, passages
from lvsha.trace.world import Finding, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The whole story."""

    gathered: Gatherer
    hosts: Hosts
    clocks: dict[int, Offset]
    talks: list[Conversation]
    findings: list[Finding]
    others: int = 0
    """Connections to other addresses, which are not told."""

    @property
    def is_well(self) -> bool:
        """Nothing was found, and every connection went well."""
        return not self.findings and all(talk.is_well for talk in self.talks)

    def of(self, number: int) -> list[Finding]:
        """What was found about a connection."""
        return [finding for finding in self.findings if finding.connection == number]


def explain(gathered: Gatherer, *, vips: Collection[Endpoint] = ()) -> Explanation:
    """Make sense of it; ``vips``: only connections to these, port 0 for all ports."""
    find_own_macs(gathered)
    by_bucket = [(bucket, passages(bucket, gathered.places)) for bucket in gathered.buckets.values()]
    ways = [way for _, found in by_bucket for way in found]
    clocks = offsets(ways, gathered.places)
    hosts = Hosts(gathered, ways)
    talks = [talk for bucket, found in by_bucket for talk in split(bucket, found, clocks)]
    for talk in talks:
        understand(talk, hosts)
    every = len(talks)
    if vips:
        talks = [talk for talk in talks if talk.virtual is not None and matches(talk.virtual, vips)]
    else:
        talks = through_directors(talks)
    for talk in talks:
        give_roles(talk)
    _name_the_rest(hosts, talks)
    name_hosts(hosts, gathered.places)
    world = World(gathered=gathered, hosts=hosts, clocks=clocks, talks=talks)
    return Explanation(
        gathered=gathered,
        hosts=hosts,
        clocks=clocks,
        talks=talks,
        findings=findings.find(world),
        others=every - len(talks),
    )


def _name_the_rest(hosts: Hosts, talks: list[Conversation]) -> None:
    """Whoever holds a virtual address and serves nobody is a director, though it was passed by."""
    for talk in talks:
        if talk.virtual is None:
            continue
        for host in hosts.answerers(talk.virtual.address):
            if not host.roles:
                host.roles[Role.DIRECTOR] += 1


def shown(host: Host | None) -> str:
    """A machine's name."""
    return host.name if host is not None else "?"
