"""A file that is not what a command wants is refused in one line, whatever it holds."""

import gzip
from pathlib import Path

import pytest

from lvsha.cli import main as lvsha
from tests.cli.sync_captures import WEB, frame, message, write_capture

COMMANDS = [
    "sync decode FILE",
    "sync table FILE",
    "sync stats FILE",
    "sync diff FILE kernel",
    "config check FILE",
    "config check --json FILE",
    "config show FILE",
    "config convert FILE",
    "config convert --to keepalived FILE",
    "realserver plan FILE",
    "realserver undo --state FILE",
    "doctor --listen 0 -f FILE",
    "trace FILE",
    "sim run FILE",
    "sim run --fault freeze --config FILE",
    "sim replay --config FILE FILE",
    "ipvs diff FILE",
    "status --url https://127.0.0.1:1 --token-file FILE",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind of wrong; none of them is long to read."""
    made = tmp_path_factory.mktemp("bad")
    capture = write_capture(made / "good.pcap", [frame(message(WEB))] * 9).read_bytes()
    packed = bytearray(gzip.compress(capture, mtime=0))
    damaged = packed[:20] + bytes(10) + packed[30:]
    contents = {
        "binary": bytes(range(255, 0, -1)) * 20,
        "latin": b"# caf\xe9\nx = 1\n",
        "zeros": b"a\0b\n" * 10,
        "deep": b"a = " + b"[" * 20_000,
        "deep.json": b"[" * 100_000,
        "long": b"x" * 300_000,
        "cut.gz": bytes(packed[:11]),
        "damaged.gz": bytes(damaged),
        "short.pcap": capture[:10],
        "huge.pcap": capture[:24] + b"\xff" * 16,
    }
    for name, data in contents.items():
        (made / name).write_bytes(data)
    (made / "good.pcap").unlink()
    (made / "folder").mkdir()
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_any_file_is_read_or_refused_in_a_line(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvsha.cli.config_file.local_addresses", set)
    files = [*sorted(folder.iterdir()), folder / "missing"]

    for file in files:
        status = _run(command, file)
        err = capsys.readouterr().err

        assert status in (0, 1, 2), (file.name, status)
        assert len(err.splitlines()) < 5, (file.name, err)
        assert max(map(len, err.splitlines()), default=0) < 700, (file.name, err[:200])
        assert "codec can't" not in err, (file.name, err)
        assert "Errno" not in err, (file.name, err)


def _run(command: str, file: Path) -> int:
    try:
        return lvsha.main([str(file) if word == "FILE" else word for word in command.split()])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
