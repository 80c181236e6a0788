"""What ``ipvsadm -Lc`` prints: the connection table out of ``/proc/net/ip_vs_conn``, row by row."""

from _collections_abc import Iterable, Iterator

from lvsha.ipvs.ipvsadm.names import AF_INET, AF_INET6, SCTP, TCP, UDP, Texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lvsha.ipvs.ipvsadm.names import Names

HEADING = "IPVS connection entries"
COLUMNS = "pro expire state       source             virtual            destination"
_PE_COLUMNS = COLUMNS + "        pe name          pe_data"
_PROTOCOLS = {b"TCP": TCP, b"UDP": UDP, b"SCTP": SCTP}
_REMEMBERED = 4096


def lines(table: Iterable[bytes], names: "Names", *, numeric: bool, engine: bool) -> Iterator[str]:
    """The rows of the kernel's table (its heading first), as they come: memory does not grow with it.

    Args:
        engine: print the persistence engine's name and data, where there is one.
    """
    yield HEADING
    yield _PE_COLUMNS if engine else COLUMNS
    texts = Texts(names, numeric=numeric)
    known: dict[tuple[bytes, bytes, int], str] = {}
    rows = iter(table)
    next(rows, None)
    for line in rows:
        fields = line.split()
        try:
            name, *ends, state, expires = fields[:9]
            protocol = _PROTOCOLS.get(name, 0)
            seconds = int(expires) & 0xFFFFFFFF
            source, virtual, destination = [
                _endpoint(ends[at], ends[at + 1], protocol, texts, known) for at in (0, 2, 4)
            ]
        except (ValueError, IndexError):
            continue  # the rest of a row whose engine's data holds a line's end
        timer = f"{seconds // 60:02}:{seconds % 60:02}"
        text = f"{name.decode():<3} {timer:<6} {state.decode():<11} {source:<18} {virtual:<18} {destination}"
        if engine and len(fields) > 10:
            text = (
                f"{text[: -len(destination)]}{destination:<16} {fields[9].decode():<18} {_data(fields[10])}"
            )
        yield text


def _data(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _endpoint(
    address: bytes, port: bytes, protocol: int, texts: Texts, known: dict[tuple[bytes, bytes, int], str]
) -> str:
    key = (address, port, protocol)
    text = known.get(key)
    if text is None:
        if len(known) >= _REMEMBERED:
            known.clear()
        if len(address) == 8:
            packed, family = bytes.fromhex(address.decode()), AF_INET
        else:
            packed, family = bytes.fromhex(address.replace(b":", b"").decode()), AF_INET6
        text = known[key] = texts.endpoint(family, packed, int(port, 16), protocol)
    return text
