"""Every IPVS setting that a configuration may hold is explained, and our advice is within its range."""

from lvsha.cli.ipvs_sysctl import differs, explanation, table
from lvsha.config.schema import SYSCTLS
from lvsha.ipvs.sysctls import BY_NAME, SETTINGS
from lvsha.sync.daemon import DEFAULT_SYSCTLS


def test_every_setting_of_the_configuration_is_explained() -> None:
    assert SYSCTLS.keys() <= BY_NAME.keys()
    assert len(BY_NAME) == len(SETTINGS)


def test_advice_is_within_the_range() -> None:
    for setting in SETTINGS:
        limits = SYSCTLS.get(setting.name)
        if setting.advice and limits is not None:
            assert limits[0] <= int(setting.advice) <= limits[1], setting.name


def test_advice_is_what_the_director_sets_by_itself() -> None:
    for name, value in DEFAULT_SYSCTLS.items():
        assert BY_NAME[name].advice in ("", value), name


def test_a_value_that_differs_is_marked() -> None:
    setting = BY_NAME["sync_threshold"]

    assert differs(setting, "3 50")
    assert not differs(setting, "0\t0")
    assert not differs(setting, None)
    assert "3 50*" in table([setting], {"sync_threshold": "3 50"})[1]
    assert "We would set 0 0." in "\n".join(explanation(setting, None))
