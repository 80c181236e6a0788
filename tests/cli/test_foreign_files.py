"""Files of other programs are read where lvsha's own are, also those of before UTF-8."""

from pathlib import Path

import pytest

from lvsha.cli import main as lvsha

KEEPALIVED = """\
# Z\xfcrich
virtual_server 10.0.0.10 80 {
    lb_algo rr
    lb_kind DR
    protocol TCP
    real_server 10.0.0.11 80 {
        weight 1
        TCP_CHECK {
        }
    }
}
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1"])
@pytest.mark.parametrize("verb", ["check", "show", "convert"])
def test_a_file_of_keepalived_is_read_in_any_encoding(
    verb: str, encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keepalived.conf"
    file.write_bytes(KEEPALIVED.encode(encoding))

    status = lvsha.main(["config", verb, str(file)])

    out, err = capsys.readouterr()
    assert status == 0, err
    assert ": fine" in out if verb == "check" else "10.0.0.11" in out


def test_our_own_file_has_to_be_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lvsha.toml"
    file.write_bytes(KEEPALIVED.encode("iso-8859-1"))

    assert lvsha.main(["config", "check", str(file)]) == 1
    assert "is not UTF-8 text" in capsys.readouterr().out
