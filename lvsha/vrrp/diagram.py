"""The transition table as Markdown and as a Mermaid diagram, for ``docs/reference/vrrp.md``."""

from lvsha.vrrp.transitions import STATE_OF, TRANSITIONS, Phase


def transition_table_markdown() -> str:
    """One line per row of the machine."""
    lines = ["| phase | on | does, in order | then | source |", "|---|---|---|---|---|"]
    for row in TRANSITIONS:
        steps = "; ".join(step.value for step in row.steps) or "nothing"
        lines.append(f"| {row.phase} | {row.on.value} | {steps} | {row.then} | {row.source} |")
    return "\n".join(lines) + "\n"


def transition_diagram_mermaid() -> str:
    """The phases, grouped by the state that operators see, and the inputs that move between them."""
    lines = ["stateDiagram-v2", "    direction LR"]
    for phase in Phase:
        name = (
            f"{phase}: {phase}" if STATE_OF[phase] == phase.value else f"{phase}: {phase} ({STATE_OF[phase]})"
        )
        lines.append(f"    {name}")
    moves: dict[tuple[Phase, Phase], list[str]] = {}
    for row in TRANSITIONS:
        if row.phase is not row.then:
            moves.setdefault((row.phase, row.then), []).append(row.on.value)
    for (before, then), inputs in moves.items():
        lines.append(f"    {before} --> {then}: {' / '.join(inputs)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(transition_table_markdown())
    print(transition_diagram_mermaid())
