"""What a request may say: checked once, and told in the OpenAPI document by the same models."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_Text = Annotated[str, Field(max_length=200)]
_Target = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="A realserver (name, address, or address:port; then in every service), a service, or "
        "SERVICE/REALSERVER.",
    ),
]
_Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(Body):
    """An empty object, or no body."""


class Order(Body):
    """An order about realservers."""

    target: _Target
    reason: _Text = Field(default="", description="Shown wherever the order is.")
    owner: _Text = Field(
        default="", description="On whose behalf; of who asks over the network the token's name stands."
    )
    expires_s: _Seconds | None = Field(default=None, description="The order ends by itself after so long.")


class Drain(Order):
    deadline_s: _Seconds | None = Field(
        default=None, description="After so long what is left is cut off; left out: never."
    )


class Weight(Order):
    weight: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        description="Stands in the configured one's place; null: the configured one again."
    )


class TakeBack(Body):
    """The end of an order."""

    target: _Target
    reason: _Text = ""
    owner: _Text = ""


class Maintenance(Body):
    on: bool
    target: _Target | None = Field(default=None, description="Left out: this director.")
    reason: _Text = ""
    owner: _Text = ""
    expires_s: _Seconds | None = None


class Pause(Body):
    reason: _Text = ""
    owner: _Text = ""
    expires_s: _Seconds | None = None


class SwitchOver(Body):
    force: bool = Field(default=False, description="Also when connections would be lost.")
    at: float | None = Field(default=None, description="When, seconds since 1970; left out: now.")
    cancel: bool = Field(default=False, description="Call a planned one off.")
    owner: _Text = ""


class AlertTest(Body):
    name: str = Field(min_length=1, max_length=64, description="Of an `[[alert]]`.")


class PeerQuestion(Body):
    """A request to another director's API."""

    peer: _Text | None = Field(default=None, description="Its name; left out: the only other one.")
    method: str = Field(default="GET", pattern="^(GET|POST)$")
    path: str = Field(pattern="^/", max_length=2000, description="With its query.")
    body: dict[str, Any] | None = None


class ConfigTrial(Body):
    text: str = Field(max_length=4 << 20, description="A whole configuration.")
    confirm_within_s: Annotated[float, Field(gt=0, le=86400)] = Field(
        default=120.0, description="After so long without `confirm` the old one runs again."
    )
    pair: bool = Field(default=False, description="The other director tries it as well.")
    owner: _Text = ""


class ConfigConfirm(Body):
    generation: _Text | None = Field(default=None, description="Only if this one is on trial.")
    owner: _Text = ""


class ConfigRollBack(Body):
    owner: _Text = ""


class ConfigText(Body):
    text: str | None = Field(
        default=None,
        max_length=4 << 20,
        description="A whole configuration; left out: the agent's own file, as it is now.",
    )
