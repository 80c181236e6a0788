"""Values of the configuration file: what its text means, and what one value alone can get wrong."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from lvsha.core.addr import Address
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND

_UNITS = {
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}

_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(us|ms|s|m|h|d)")

_LONGEST_S = 10 * 365 * 86400


def parse_duration(value: object) -> int:
    """Nanoseconds of ``"100ms"``, ``"1.5s"``, ``"5m"`` or of a plain number of seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError(f'{value!r} is not a duration; write "100ms", "1.5s", "5m", "2h" or "1d"')
        duration = round(Decimal(match[1]) * _UNITS[match[2]])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= _LONGEST_S:  # also refuses nan
            raise ValueError("a duration is a number of seconds from 0 to ten years")
        duration = round(value * SECOND)
    else:
        raise ValueError('a duration is text like "100ms" or a number of seconds')
    if duration > _LONGEST_S * SECOND:
        raise ValueError("a duration is at most ten years")
    return duration


def duration_text(duration: int) -> str:
    """The shortest text that ``parse_duration`` reads back as ``duration``."""
    if duration == 0:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if duration % _UNITS[unit] == 0:
            return f"{duration // _UNITS[unit]}{unit}"
    return f"{Decimal(duration) / MICROSECOND}us"


Duration = Annotated[
    int,
    PlainValidator(parse_duration),
    WithJsonSchema(
        {
            "title": "duration",
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(us|ms|s|m|h|d)$"},
                {"type": "number", "minimum": 0},
            ],
        }
    ),
]


def parse_address(value: object) -> Address:
    """An IP address; names are not resolved."""
    if not isinstance(value, str):
        raise ValueError('an IP address is text in quotes, like "10.0.0.1" or "fd00::1"')
    try:
        address = ip_address(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not an IP address"
            + ("; names are not resolved, write the address" if re.search("[g-zG-Z]", value) else "")
        ) from None
    if address.version == 6 and address.scope_id is not None:
        raise ValueError(f"{value!r} names an interface; give it with its own key")
    return address


def _unicast(address: Address, text: str) -> Address:
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        raise ValueError(f"{text!r} is not the address of one machine")
    return address


def parse_host(value: object) -> Address:
    """An IP address that one machine can have."""
    return _unicast(parse_address(value), str(value))


def parse_prefix(value: object) -> IPv4Interface | IPv6Interface:
    """An address with its prefix length; without one, the address alone (/32, /128)."""
    if not isinstance(value, str):
        raise ValueError('an address is text in quotes, like "10.0.0.10/24"')
    host, slash, _ = value.partition("/")
    address = parse_host(host)
    if not slash:
        return ip_interface(address)
    try:
        return ip_interface(value)
    except ValueError:
        bits = 32 if address.version == 4 else 128
        raise ValueError(
            f"{value!r} has no prefix length from 0 to {bits} after the slash; write {address}/{bits}"
        ) from None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, and a port where one was written."""

    address: Address
    port: int | None = None


_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")


def parse_endpoint(value: object) -> Endpoint:
    """``"10.0.0.1:80"``, ``"[fd00::1]:80"``, or an address without a port."""
    if not isinstance(value, str):
        raise ValueError('an address is text in quotes, like "10.0.0.1:80" or "[fd00::1]:80"')
    if match := _BRACKETED.fullmatch(value):
        host, port_text = match[1], match[2]
    elif value.count(":") == 1:
        host, port_text = value.split(":")
    else:
        host, port_text = value, None
    address = parse_host(host)
    if port_text is None:
        return Endpoint(address)
    if not re.fullmatch("[0-9]{1,5}", port_text) or int(port_text) > 65535:
        raise ValueError(f"{value!r} has a port that is not a number from 0 to 65535")
    return Endpoint(address, int(port_text))


def parse_bytes(value: object) -> bytes:
    """Text as UTF-8, or ``"hex:00ff"``."""
    if not isinstance(value, str):
        raise ValueError('is text, or bytes written as "hex:00ff"')
    if value.startswith("hex:"):
        try:
            return bytes.fromhex(value[4:])
        except ValueError:
            raise ValueError('after "hex:" come pairs of hexadecimal digits') from None
    return value.encode(errors="replace")


def parse_netmask(value: object) -> int:
    """A prefix length from ``24``, ``"/24"`` or ``"255.255.255.0"``."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 128:
        return value
    if isinstance(value, str):
        if re.fullmatch("/?[0-9]{1,3}", value) and 1 <= int(value.lstrip("/")) <= 128:
            return int(value.lstrip("/"))
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", value):
            try:
                bits = f"{int(ip_address(value)):032b}"
            except ValueError:
                bits = "01"
            if "01" not in bits and "1" in bits:
                return bits.count("1")
    raise ValueError(f'{value!r} is not a netmask; write a prefix length like 24, or "255.255.255.0"')


_STATUS = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")


def parse_status(value: object) -> tuple[int, int]:
    """``200`` or ``"200-299"`` as an inclusive range."""
    match = _STATUS.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None:
        raise ValueError(f'{value!r} is not a status code; write 200 or "200-299"')
    low, high = int(match[1]), int(match[2] or match[1])
    if not 100 <= low <= high:
        raise ValueError(f"{value!r} is not a range of status codes within 100-999")
    return low, high


def parse_sysctl(value: object) -> str:
    """A kernel setting's value as it is written to /proc."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("is a number, or text in quotes")
    return str(value)


def text_schema(title: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "title": title, "examples": list(examples)})


AnyAddress = Annotated[Address, PlainValidator(parse_address), text_schema("IP address", "224.0.0.81")]

Host = Annotated[Address, PlainValidator(parse_host), text_schema("IP address", "10.0.0.1", "fd00::1")]

Prefix = Annotated[
    IPv4Interface | IPv6Interface,
    PlainValidator(parse_prefix),
    text_schema("address/prefix", "10.0.0.10/24", "fd00::10/64"),
]

HostPort = Annotated[
    Endpoint,
    PlainValidator(parse_endpoint),
    text_schema("address:port", "10.0.0.10:80", "[fd00::10]:80"),
]

Bytes = Annotated[bytes, PlainValidator(parse_bytes), text_schema("text or hex:…", "PING\r\n", "hex:00ff")]

Netmask = Annotated[
    int,
    PlainValidator(parse_netmask),
    WithJsonSchema(
        {
            "title": "prefix length or netmask",
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": 128}, {"type": "string"}],
        }
    ),
]

Status = Annotated[
    tuple[int, int],
    PlainValidator(parse_status),
    WithJsonSchema(
        {
            "title": "status or range",
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 999},
                {"type": "string", "pattern": "^[0-9]{3}(-[0-9]{3})?$"},
            ],
        }
    ),
]

SysctlValue = Annotated[
    str,
    PlainValidator(parse_sysctl),
    WithJsonSchema({"title": "number or text", "anyOf": [{"type": "integer"}, {"type": "string"}]}),
]

Port = Annotated[int, Field(ge=0, le=65535)]

Weight = Annotated[int, Field(ge=0, le=65535)]

Priority = Annotated[int, Field(ge=1, le=255)]


def _interface(value: str) -> str:
    if not re.fullmatch(r"[^\s/\x00-\x1f]{1,15}", value) or value in (".", ".."):
        raise ValueError(f"{value!r} is not an interface's name: 1 to 15 characters, no blank, no slash")
    return value


def _directory(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]{1,64}", value):
        raise ValueError("a name has 1 to 64 characters and no blanks")
    return value


def checked(validate: Callable[[str], str], title: str) -> Any:
    class _Checked:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
            return core_schema.no_info_after_validator_function(validate, handler(source))

        @classmethod
        def __get_pydantic_json_schema__(
            cls, schema: CoreSchema, handler: GetJsonSchemaHandler
        ) -> JsonSchemaValue:
            return {**handler(schema), "title": title}

    return _Checked


Interface = Annotated[str, checked(_interface, "interface")]

Directory = Annotated[str, checked(_directory, "absolute path")]

Name = Annotated[str, checked(_name, "name")]
